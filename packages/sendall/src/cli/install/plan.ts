/** What an installation has to copy to a host, decided from what the host says of itself. */
import { SendallError } from '../../errors.js';
import { formatSize } from '../words/units.js';
import { ownNode, ownPackages, type Payload } from './payload.js';
import { isSame, OLDEST_NODE, ownPlatform, platformName, type Facts } from './platform.js';

/** Bytes of a disk that an installation leaves free. */
const SPARE = 16 * 1024 * 1024;

/** Made once for all hosts. */
const made = new Map<string, Payload>();
function once(key: string, make: () => Payload): Payload {
  let payload = made.get(key);
  if (!payload) made.set(key, (payload = make()));
  return payload;
}
const payloads = {
  packages: (native: boolean) => once(`packages ${native}`, () => ownPackages(native)),
  node: () => once('node', ownNode),
};

/** What has to be copied, and which programs then run the agent. */
export interface Work {
  /** An installation was there before. */
  readonly wasThere: boolean;
  /** It was this very version. */
  readonly isThere: boolean;
  readonly packages: Payload | undefined;
  readonly nodeProgram: Payload | undefined;
  readonly version: string;
  readonly node: string;
}

/**
 * Plans an installation. Nothing has been changed on the host before.
 * @throws SendallError when it cannot be done there, or was not what the caller asked for.
 */
export function plan(facts: Facts, upgrade: boolean): Work {
  const { platform, nodes, oldNode, lacks, has, installation, root, free } = facts;
  const own = ownPlatform();
  const fits = isSame(own, platform);
  const packages = payloads.packages(fits);
  const wasThere = installation?.state === 'installed';
  const isThere = wasThere && installation.version === packages.id;
  if (wasThere && !isThere && !upgrade)
    throw new SendallError(
      'INSTALL',
      `version ${installation.version} is there, and this is ${packages.id}: add --upgrade to replace it`,
    );
  if (!wasThere && upgrade)
    throw new SendallError('INSTALL', `nothing is installed in ${root} there: leave out --upgrade to install it`);
  const hasPackages = has.has(`versions/${packages.id}`);
  let [node] = nodes;
  let nodeProgram: Payload | undefined;
  if (node === undefined) {
    const what = oldNode === undefined ? 'there is no Node.js there' : `its Node.js is ${oldNode}`;
    if (!fits)
      throw new SendallError(
        'INSTALL',
        `${what}, and the one of this machine (${platformName(own)}) cannot run there (${platformName(platform)}): install Node.js ${OLDEST_NODE} or newer there`,
      );
    nodeProgram = payloads.node();
    node = `${root}/nodes/${nodeProgram.id}/bin/node`;
  }
  if ((!hasPackages || nodeProgram) && lacks.length)
    throw new SendallError('INSTALL', `there is no ${lacks.join(' and no ')} there: install it first`);
  const size = (hasPackages ? 0 : packages.size) + (nodeProgram?.size ?? 0);
  if (size && free && free.bytes < size + SPARE)
    throw new SendallError(
      'INSTALL',
      `it needs ${formatSize(size + SPARE)} in ${root}, and ${formatSize(free.bytes)} are free there: make room in ${free.folder}`,
    );
  return { wasThere, isThere, packages: hasPackages ? undefined : packages, nodeProgram, version: packages.id, node };
}

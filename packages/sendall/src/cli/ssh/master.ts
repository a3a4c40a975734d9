/** `-O`: the warm link to a host stands for ssh's shared connection. */
import { resolveHome } from '../../index.js';
import { askWarmLinks } from '../../internal.js';
import { say } from '../show/print.js';
import type { Call } from './call.js';
import { placeOf } from './destination.js';
import { FAILED } from './failed.js';
import type { Voice } from './voice.js';

/** Says whether there is a warm link, or closes it. Resolves to the exit code. */
export async function askMaster({ action, host, hostName = host, port, quiet }: Call, voice: Voice): Promise<number> {
  const { url } = placeOf(hostName, port);
  const status = await askWarmLinks(resolveHome(), 'status');
  if (!status || !status.links.some((link) => link.url === url)) {
    voice.fail(`there is no warm link to ${host}: the next command to it makes one`);
    return FAILED;
  }
  if (action === 'exit') await askWarmLinks(resolveHome(), 'close', url!);
  if (!quiet) say(action === 'exit' ? 'Exit request sent.' : `Master running (pid=${status.pid})`);
  return 0;
}

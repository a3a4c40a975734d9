/**
 * What a grant makes of a run. The agent decides and the keeper obeys, but it never starts for a caller who is no owner
 * what could reach the agent or the keeper, whatever it is told.
 */
import type { Grant, Limits, Spec } from '../../protocol/messages.js';
import type { Account } from '../system/environment.js';
import type { Native } from '../system/native.js';
import type { Becoming } from './prefix.js';
import { StartFailure } from '../system/program.js';

/** To the system it means "stay who you are", which is root. Source: setresuid(2). */
const UNCHANGED = 0xffff_ffff;

const lesser = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined ? b : b === undefined ? a : Math.min(a, b);

/** A grant whose bytes are its own: those of a message are a view of what the socket read. */
export const ownGrant = (grant: Grant): Grant => ({
  ...grant,
  program: grant.program && Uint8Array.from(grant.program),
  transfer: grant.transfer && { ...grant.transfer, roots: grant.transfer.roots.map((root) => Uint8Array.from(root)) },
});

/** A spec within the bounds of its grant: of each two limits the smaller one. */
export function boundBy(grant: Grant | undefined, spec: Spec): Spec {
  if (!grant) return spec;
  return {
    ...spec,
    timeoutMs: lesser(spec.timeoutMs, grant.timeoutMs),
    maxOutput: lesser(spec.maxOutput, grant.output),
    limits: lesserLimits(spec.limits, grant.limits),
  };
}

function lesserLimits(a: Limits | undefined, b: Limits | undefined): Limits | undefined {
  if (!a || !b) return a ?? b;
  return {
    memory: lesser(a.memory, b.memory),
    cpuMs: lesser(a.cpuMs, b.cpuMs),
    files: lesser(a.files, b.files),
    processes: lesser(a.processes, b.processes),
  };
}

/**
 * The user that a command becomes; undefined when it stays the keeper's own, which only an owner's can.
 * @throws StartFailure
 */
export function becomingOf(
  native: Native,
  own: Account,
  { runAs, verb }: Spec,
  grant: Grant | undefined,
): Becoming | undefined {
  if (!grant && (runAs === undefined || runAs === own.name)) return undefined;
  const isRoot = process.geteuid?.() === 0;
  if (!grant) {
    if (!isRoot) throw new StartFailure('policy', `the keeper runs as ${own.name} and cannot run commands as ${runAs}`);
    return { user: accountOf(native, runAs!), granted: false };
  }
  const { rule } = grant;
  if (!isRoot)
    throw new StartFailure(
      'policy',
      `the agent runs as ${own.name}, and only root can keep the commands of others away from it: it serves owners only`,
    );
  if (grant.runAs === undefined) throw new StartFailure('policy', `the rule ${rule} names no user to run commands as`);
  if (runAs !== undefined && runAs !== grant.runAs)
    throw new StartFailure('policy', `the rule ${rule} runs commands as ${grant.runAs}, not as ${runAs}`);
  checkTransfer(verb, grant);
  const user = accountOf(native, grant.runAs);
  if (user.uid === 0 && grant.transfer)
    throw new StartFailure('policy', `the rule ${rule} moves files as root, which is for owners`);
  if (user.uid === 0 && !grant.trustsProgram)
    throw new StartFailure('policy', `the rule ${rule} runs its program as root and does not say that it trusts it`);
  return { user, granted: true };
}

/** A rule about files starts no command, and one about commands moves no files. */
function checkTransfer(verb: string, { rule, transfer }: Grant): void {
  if (verb === 'forward') throw new StartFailure('policy', 'connections are forwarded for owners');
  const isTransfer = verb === 'put' || verb === 'get';
  if (isTransfer && !transfer?.roots.length)
    throw new StartFailure('policy', `the rule ${rule} names no folders for files`);
  if (!isTransfer && transfer) throw new StartFailure('policy', `the rule ${rule} is for files, and starts no command`);
}

function accountOf(native: Native, name: string) {
  const user = native.account(name);
  if (!user) throw new StartFailure('badspec', `this machine has no user ${JSON.stringify(name)}`);
  // A directory service may give anything.
  if ([user.uid, user.gid, ...user.groups].includes(UNCHANGED))
    throw new StartFailure(
      'policy',
      `the user ${JSON.stringify(name)} has the number ${UNCHANGED}, which is no number of a user`,
    );
  return user;
}

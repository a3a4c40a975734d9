/** Checks how well a host can be used, reports faults, and suggests how to mend them. */
import { accessSync, constants, statSync } from 'node:fs';
import { UsageError } from '../../errors.js';
import { checkPrivateFolder, resolveHome } from '../../home.js';
import { AllHosts, type AgentStatus, type Host } from '../../index.js';
import type { Arguments, Command } from '../words/command.js';
import { answer, json, title } from '../show/print.js';
import { reach, reachOptions, shareOf } from '../hosts/reach.js';
import { count, formatSize } from '../words/units.js';
import { ownVersion } from '../version.js';
import { journalDamage } from '../runs/journal-damage.js';

/** Number of round trips measured; the median counts. */
const ROUNDS = 9;
/** Milliseconds of clock difference above which the host may refuse a command as too old. */
const LARGEST_SKEW = 30_000;
/** Milliseconds of a round trip that a person at a keyboard notices. */
const SLOW_ROUND_TRIP = 150;
/** Free bytes on the host's disk below which commands may soon have to wait for room. */
const LITTLE_ROOM = 1024 ** 3;

/** The finding of one check. */
export interface Finding {
  readonly check: string;
  readonly ok: boolean;
  readonly found: string;
  /** The suggested fix. */
  readonly mend?: string | undefined;
}

export const doctor: Command = {
  name: 'doctor',
  usage: '[OPTIONS] [HOST]',
  summary:
    'check the link to a host: round trip, resumes, clock, key, versions, limits; report faults and how to mend them',
  examples: ['sendall doctor', 'sendall doctor web1'],
  options: { json: { help: 'one JSON object a line on stdout' }, ...reachOptions },
  complete: 'host',
  async run(args) {
    const [target = 'local', extra] = args.words;
    if (extra !== undefined) throw new UsageError('doctor takes one host: sendall doctor web1');
    const findings: Finding[] = [];
    for await (const finding of examine(target, args)) {
      findings.push(finding);
      if (args.on('json')) json({ event: 'check', host: target, ...finding });
      else {
        answer(`${finding.ok ? 'ok   ' : 'wrong'}  ${finding.check.padEnd(11)}  ${finding.found}`);
        if (finding.mend) answer(`       ${' '.repeat(11)}  -> ${finding.mend}`);
      }
    }
    const bad = findings.filter(({ ok }) => !ok).length;
    if (!args.on('json')) title(bad ? `${bad} of ${findings.length} checks found something wrong` : 'all is well');
    return bad ? 1 : 0;
  },
};

/** All checks of a host. */
export async function checkHost(target: string, args: Arguments): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  for await (const finding of examine(target, args)) findings.push(finding);
  return findings;
}

async function* examine(target: string, args: Arguments): AsyncGenerator<Finding> {
  yield homeFinding();
  yield pinFinding(target);
  const before = performance.now();
  let host: Host;
  try {
    host = await reach(target, args, { ...shareOf(args), early: false });
  } catch (error) {
    // The message says what is wrong; the next step follows a semicolon or, without one, the last colon.
    const { message } = error as Error;
    const at = message.includes('; ') ? message.indexOf('; ') : message.lastIndexOf(': ');
    const [found, mend] = at < 0 ? [message] : [message.slice(0, at), message.slice(at + 2)];
    yield { check: 'link', ok: false, found: found!, mend: mend ?? 'see sendall agent status there' };
    return;
  }
  await using _ = host;
  yield { check: 'link', ok: true, found: `made in ${(performance.now() - before).toFixed(1)} ms` };
  const { version, clockSkewMs, principal, roles } = host.info;
  yield { check: 'caller', ok: true, found: `you are ${principal} there (${roles.join(', ')})` };
  const status = await host.ask<AgentStatus>('status');
  yield roundTripFinding(await roundTrips(host));
  yield {
    check: 'clock',
    ok: Math.abs(clockSkewMs) < LARGEST_SKEW,
    found: `${Math.abs(Math.round(clockSkewMs))} ms ${clockSkewMs < 0 ? 'behind' : 'ahead'}`,
    mend: Math.abs(clockSkewMs) < LARGEST_SKEW ? undefined : 'set the clocks by NTP on both machines',
  };
  yield versionFinding(version);
  yield {
    check: 'keeper',
    ok: status.keeperPid !== undefined,
    found:
      status.keeperPid === undefined ? 'not running' : `pid ${status.keeperPid}, ${count(status.runs, 'command')} now`,
    mend: status.keeperPid === undefined ? 'run a command: the agent starts it' : undefined,
  };
  yield journalFinding(status);
  if (status.log) yield logFinding(status.log);
  if (status.policy) yield policyFinding(status.policy);
  if (status.callersProblem !== undefined) yield callersFinding(status.callersProblem);
  yield linksFinding(status, host.resumes);
  yield limitsFinding(status);
  yield roomFinding(status);
  yield nativeFinding(status);
  if (status.cannotLimit !== undefined) yield commandLimitsFinding(status.cannotLimit);
  if (status.cannotTransfer) yield transferFinding(status.cannotTransfer);
  if (status.notAdopted?.length) yield starterFinding(status.notAdopted);
  yield await commandFinding(host);
}

function homeFinding(): Finding {
  const { config } = resolveHome();
  const there = statSync(config, { throwIfNoEntry: false });
  if (!there) return { check: 'home', ok: true, found: `${config}, made when it is needed` };
  const wrong = (what: string): Finding => ({
    check: 'home',
    ok: false,
    found: `${config} ${what}`,
    mend: 'set SENDALL_HOME to a folder of your own',
  });
  try {
    checkPrivateFolder(config);
  } catch (error) {
    const { message } = error as Error;
    const at = message.lastIndexOf(': ');
    return { check: 'home', ok: false, found: message.slice(0, at), mend: message.slice(at + 2) };
  }
  try {
    accessSync(config, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch {
    return wrong('is not writable for you');
  }
  return { check: 'home', ok: true, found: config };
}

function pinFinding(target: string): Finding {
  if (target === 'local' || target.startsWith('unix:'))
    return { check: 'key', ok: true, found: 'this machine’s own socket needs none' };
  const hosts = AllHosts.of(resolveHome());
  const entry = target.includes(':') ? hosts.at(target) : hosts.get(target);
  return entry?.pin
    ? { check: 'key', ok: true, found: `${entry.pin}, expected at ${entry.url}` }
    : { check: 'key', ok: false, found: 'not known here', mend: 'sendall pair --new on the other machine shows how' };
}

async function roundTrips(host: Host): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < ROUNDS; i++) times.push((await host.ping()).rttMs);
  return times.sort((a, b) => a - b)[ROUNDS >> 1]!;
}

function roundTripFinding(ms: number): Finding {
  return {
    check: 'round trip',
    ok: true,
    found: `${ms.toFixed(2)} ms`,
    mend: ms < SLOW_ROUND_TRIP ? undefined : 'slow for a shell, fine for commands: nothing to mend here',
  };
}

/** Versions with the same beginning understand each other; the protocol refuses messages it does not know. */
function versionFinding(theirs: string): Finding {
  const ours = ownVersion();
  const same = theirs === ours;
  return {
    check: 'version',
    ok: true,
    found: same ? ours : `${theirs} there, ${ours} here`,
    mend: same ? undefined : 'they are compatible, but the older one lacks features: upgrade it when you can',
  };
}

function linksFinding({ links, resumes, replayedBytes }: AgentStatus, own: number): Finding {
  if (resumes === undefined)
    return { check: 'links', ok: true, found: `${links} now; this agent is too old to count more` };
  const again = `since it started, callers resumed a run ${count(resumes, 'time')} and ${formatSize(replayedBytes)} were sent again`;
  return { check: 'links', ok: true, found: `${links} now, ours was restored ${count(own, 'time')}; ${again}` };
}

function limitsFinding({ limits }: AgentStatus): Finding {
  if (!limits) return { check: 'limits', ok: true, found: 'this agent is too old to tell' };
  const { connections, runsPerLink, running, spool, spoolTotal, keep, pingDeadline } = limits;
  const found = [
    `${connections} links`,
    `${runsPerLink} runs a link`,
    ...(running === undefined ? [] : [`${running} commands at once`]),
    ...(spool === undefined ? [] : [`${formatSize(spool)} of output a run, ${formatSize(spoolTotal!)} in all`]),
    ...(keep === undefined ? [] : [`finished runs are kept ${keep / 3_600_000} h`]),
    `a silent link is given up after ${pingDeadline / 1000} s`,
  ];
  return { check: 'limits', ok: true, found: found.join(', ') };
}

function logFinding({ records, held, problem }: NonNullable<AgentStatus['log']>): Finding {
  const found = problem ?? (held ? `${count(held, 'record')} wait for room on the disk` : count(records, 'record'));
  const mend = problem ? 'see sendall audit verify' : held ? 'make room on that disk' : undefined;
  return { check: 'log', ok: !mend, found, mend };
}

function journalFinding({ setAside }: AgentStatus): Finding {
  const damage = journalDamage(setAside);
  return damage ? { check: 'journal', ok: false, ...damage } : { check: 'journal', ok: true, found: 'sound' };
}

function policyFinding({ rules, problem, isRoot }: AgentStatus['policy']): Finding {
  const check = 'policy';
  if (problem !== undefined)
    return {
      check,
      ok: false,
      found: `broken: ${problem}`,
      mend: 'correct the file there; until then the rules before it hold, and callers who are no owners start nothing',
    };
  if (!rules) return { check, ok: true, found: 'none: owners may do everything, and others nothing' };
  return isRoot
    ? { check, ok: true, found: `${count(rules, 'rule')} for callers who are no owners` }
    : {
        check,
        ok: false,
        found: `${count(rules, 'rule')}, without effect: the agent is not root, so it serves owners only`,
        mend: 'sendall agent install --system sets up an agent that is root',
      };
}

function callersFinding(problem: string): Finding {
  return {
    check: 'callers',
    ok: false,
    found: problem,
    mend: 'correct the file there: until then nobody is let in over the network',
  };
}

/** Unfetched output waits on the host's disk. */
function roomFinding({ spooled = 0, diskFree, limits }: AgentStatus): Finding {
  if (!limits) return { check: 'room', ok: true, found: 'this agent is too old to tell' };
  const ok = diskFree > LITTLE_ROOM;
  return {
    check: 'room',
    ok,
    found: `${formatSize(spooled)} of output kept (finished runs make room), ${formatSize(diskFree)} free on its disk`,
    mend: ok ? undefined : 'without room commands wait: free some there, or forget runs (sendall forget RUN)',
  };
}

function nativeFinding({ native, killProof, keeperIsLastToGo }: AgentStatus): Finding {
  const kill =
    killProof === 'cgroup' ? 'a kill reaches every process (cgroup)' : 'a kill may miss processes (no cgroup)';
  const memory = keeperIsLastToGo
    ? 'when memory runs out commands end before the keeper'
    : 'when memory runs out the keeper may end like any command (no CAP_SYS_RESOURCE: the OOM scores are equal)';
  const proof = `${kill}; ${memory}`;
  return native === false
    ? {
        check: 'system',
        ok: false,
        found: `no terminals, no exact and no ordered capture; ${proof}`,
        mend: 'npm install koffi there, beside sendall, and restart its agent and keeper',
      }
    : { check: 'system', ok: true, found: `terminals, exact and ordered capture; ${proof}` };
}

function commandLimitsFinding(lack: string | null): Finding {
  const found = lack ?? 'memory, processor time, files and processes of a command can be limited';
  return { check: '--limit', ok: true, found };
}

/** The keeper of root starts no program of ours that others could change. */
function transferFinding(problem: string): Finding {
  return {
    check: 'transfers',
    ok: false,
    found: `push, pull and ssh -W are refused: ${problem}`,
    mend: 'mend that, end the commands there (sendall agent stop --runs) and start the agent again',
  };
}

/** A keeper without permission to change its limits keeps those of the agent that started it. */
function starterFinding(names: readonly string[]): Finding {
  return {
    check: 'starter',
    ok: false,
    found: `commands get other limits than the agent’s starter had (${names.join(', ')}): their keeper was started before`,
    mend: 'end the commands there (sendall agent stop --runs) and start the agent again: a keeper without commands ends after a minute',
  };
}

/** Runs a real command, from start to end. */
async function commandFinding(host: Host): Promise<Finding> {
  const before = performance.now();
  const result = await host.run(['true'], { reject: false });
  return {
    check: 'command',
    ok: result.ok,
    found: result.ok ? `true ended in ${(performance.now() - before).toFixed(1)} ms` : result.reason,
    mend: result.ok ? undefined : 'run it by hand for more: sendall run … -- true',
  };
}

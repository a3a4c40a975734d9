/** `hosts install` and `hosts uninstall`: agents on other machines, by the system's own ssh. */
import { UsageError } from '../../../errors.js';
import { resolveHome } from '../../../home.js';
import { KnownHosts, NodeSet } from '../../../index.js';
import { parseTlsUrl, resolveTargets } from '../../../internal.js';
import { installHost, uninstallHost, type Outcome, type Settings, type Target } from '../../install/install-host.js';
import { sshWords } from '../../install/ssh.js';
import { answer, json, say, table } from '../../show/print.js';
import { clearStatus, hasStatusLine, showStatus } from '../../show/status-line.js';
import type { Arguments } from '../../words/command.js';
import { exitCodeOfError } from '../../words/exit-codes.js';
import { formatSize, parseDuration } from '../../words/units.js';
import { checkHost, type Finding } from '../doctor.js';

/** One host's line of the result. */
interface Row {
  readonly name: string;
  readonly destination: string;
  readonly outcome?: Outcome;
  /** What `doctor` found wrong. */
  readonly wrong?: readonly Finding[];
  readonly error?: Error;
}

export async function install(
  args: Arguments,
  words: readonly string[],
  tags: Record<string, string>,
): Promise<number> {
  if (!words.length) throw new UsageError('hosts install needs a host: sendall hosts install root@web1 --name web1');
  for (const option of ['runs', 'purge'])
    if (args.on(option)) throw new UsageError(`--${option} is for hosts uninstall`);
  if (args.on('identity'))
    throw new UsageError('hosts install lets your own key in: pair other identities with the host afterwards');
  const targets = targetsOf(args, words);
  const settings = {
    ...settingsOf(args, targets),
    upgrade: args.on('upgrade'),
    listen: listenOf(args),
    port: numberOf(args, 'port', 0, 65_535) ?? 7433,
    address: addressOf(args, targets),
    tags,
  };
  return await each(args, targets, async (target) => {
    const outcome = await installHost(target, settings);
    settings.progress(target.name, 'checking');
    const wrong = (await checkHost(target.name, args)).filter(({ ok }) => !ok);
    return { outcome, wrong };
  });
}

export async function uninstall(args: Arguments, words: readonly string[]): Promise<number> {
  if (!words.length) throw new UsageError('hosts uninstall needs a name: sendall hosts uninstall web1');
  const targets = words.flatMap((word) => [...resolveTargets(word)]).map(installed);
  const settings = { ...settingsOf(args, targets), runs: args.on('runs'), purge: args.on('purge') };
  return await each(args, targets, async (target) => ({ outcome: await uninstallHost(target, settings) }));
}

/** A known host as it was installed. @throws UsageError when it came another way. */
function installed(name: string): Target {
  const host = KnownHosts.of(resolveHome()).get(name);
  if (!host) throw new UsageError(`there is no host "${name}": see "sendall hosts"`);
  if (!host.installed)
    throw new UsageError(
      `"${name}" was not installed with "hosts install": stop its agent there, and type "sendall hosts rm ${name}"`,
    );
  return { name, destination: host.installed.ssh, system: host.installed.system };
}

/** The hosts that the words name: those that ssh knows, or those that were installed before. */
function targetsOf(args: Arguments, words: readonly string[]): Target[] {
  const hosts = KnownHosts.of(resolveHome());
  const found = words.flatMap((word) => {
    if (/^@|^all$|[=*]/.test(word)) return [...resolveTargets(word)].map(installed);
    const at = word.startsWith('ssh://') ? -1 : word.lastIndexOf('@') + 1;
    const user = word.slice(0, Math.max(at, 0));
    const names = /[[,]/.test(word) && at >= 0 ? [...new NodeSet(word.slice(at))] : [word.slice(Math.max(at, 0))];
    return names.map((host): Target => {
      const known = user ? undefined : hosts.get(host)?.installed;
      const system = args.on('system') || (known?.system ?? false);
      return { name: nameOf(host), destination: known?.ssh ?? user + host, system };
    });
  });
  for (const { destination } of found)
    if (destination.startsWith('-'))
      throw new UsageError(`"${destination}" is no host: options of ssh belong into --ssh`);
  const given = args.text('name');
  const names = given === undefined ? found.map(({ name }) => name) : [...new NodeSet(given)];
  if (names.length !== found.length)
    throw new UsageError(`--name: "${given}" names ${names.length} and there are ${found.length} hosts: give as many`);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new UsageError(`two of these hosts would be called "${twice}": name them with --name`);
  return found.map((target, i) => ({ ...target, name: names[i]! }));
}

/** The name of a host that was given as ssh takes it. */
function nameOf(host: string): string {
  return host.startsWith('ssh://') ? new URL(host).hostname : host;
}

function settingsOf(args: Arguments, targets: readonly Target[]): Settings {
  const doing = new Map<string, string>();
  return {
    ssh: sshWords(args.text('ssh') ?? 'ssh'),
    batch: targets.length > 1,
    timeoutMs: parseDuration(args.text('timeout') ?? '10m', '--timeout'),
    progress(name, what) {
      if (!hasStatusLine() || args.on('json')) return;
      doing.delete(name);
      doing.set(name, what);
      showStatus(`sendall: ${name}: ${what}… ${targets.length > 1 ? `(${targets.length} hosts)` : ''}`);
    },
  };
}

function listenOf(args: Arguments): string | undefined {
  const listen = args.text('listen');
  if (listen === undefined) return undefined;
  if (args.on('port')) throw new UsageError('--listen has a port of its own: leave out --port');
  parseTlsUrl(listen);
  return listen;
}

function addressOf(args: Arguments, targets: readonly Target[]): string | undefined {
  const address = args.text('address');
  if (address === undefined) return undefined;
  if (targets.length > 1) throw new UsageError('--address is for one host');
  parseTlsUrl(address.startsWith('tls://') ? address : `tls://${address.includes(':') ? `[${address}]` : address}`);
  return address;
}

function numberOf(args: Arguments, option: string, least: number, most: number): number | undefined {
  const text = args.text(option);
  if (text === undefined) return undefined;
  if (!/^\d{1,9}$/.test(text) || Number(text) < least || Number(text) > most)
    throw new UsageError(`--${option}: "${text}" is not a number from ${least} to ${most}`);
  return Number(text);
}

type Work = (target: Target) => Promise<Pick<Row, 'outcome' | 'wrong'>>;

/** Works on each host, some at a time; prints what became of them and returns the exit code. */
async function each(args: Arguments, targets: readonly Target[], work: Work): Promise<number> {
  const rows: Row[] = [];
  const atOnce = numberOf(args, 'at-once', 1, 1000) ?? 16;
  const waiting = targets.values();
  const worker = async (): Promise<void> => {
    for (const target of waiting) {
      const { name, destination } = target;
      const row = await work(target).then(
        (done): Row => ({ name, destination, ...done }),
        (error: Error): Row => ({ name, destination, error }),
      );
      rows.push(row);
      clearStatus();
      if (args.on('json')) json(event(row));
      else if (row.error) say(`sendall: ${name}: ${row.error.message}`);
      else describe(row, targets.length > 1);
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, targets.length) }, worker));
  const failed = rows.filter(({ error }) => error);
  if (targets.length === 1) return failed[0]?.error ? exitCodeOfError(failed[0].error) : 0;
  if (args.on('json'))
    json({ event: 'summary', total: rows.length, ok: rows.length - failed.length, failed: failed.length });
  else await conclude(targets.map((target) => rows.find(({ name }) => name === target.name)!));
  return failed.length ? 1 : 0;
}

/** What was done on one host, in lines. */
function describe({ name, outcome, wrong = [] }: Row, isOneOfMany: boolean): void {
  const { how, host, version, root, node, copiedBytes, notes } = outcome!;
  const line = (text: string) => answer(`${name}: ${text}`);
  if (!isOneOfMany)
    if (how === 'uninstalled') line(`uninstalled: ${root} and the agent are gone`);
    else {
      const copied = copiedBytes ? `, ${formatSize(copiedBytes)} copied` : '';
      line(`${how}: sendall ${version} in ${root}, run by ${node}${copied}`);
      line(`this machine calls it at ${host!.url}; its key is ${host!.pin}`);
    }
  for (const note of notes) line(note);
  for (const { check, found, mend } of wrong) line(`doctor: ${check}: ${found}${mend ? ` -> ${mend}` : ''}`);
  if (!isOneOfMany && how !== 'uninstalled') line(`try: sendall run ${name} -- uname -a`);
}

async function conclude(rows: readonly Row[]): Promise<void> {
  await table([
    ['NAME', 'HOST', 'RESULT', 'ADDRESS'],
    ...rows.map(({ name, destination, outcome, error }) => [
      name,
      destination,
      error ? 'failed' : outcome!.how,
      error ? '' : (outcome!.host?.url ?? ''),
    ]),
  ]);
}

function event({ name, outcome, wrong, error }: Row): object {
  if (error) return { event: 'host', host: name, ok: false, error: error.message };
  const { how, host, version, root, node, copiedBytes, notes } = outcome!;
  const checks = wrong?.map(({ check, found, mend }) => ({ check, found, ...(mend && { mend }) }));
  const there = how === 'uninstalled' ? {} : { url: host?.url, pin: host?.pin, node, copiedBytes, wrong: checks };
  return { event: 'host', host: name, ok: true, how, version, root, ...there, notes };
}

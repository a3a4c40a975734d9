/** Installs an agent on one host by ssh, replaces or removes it: the caller's half. */
import { SendallError, UnreachableError, UsageError } from '../../errors.js';
import { resolveHome } from '../../home.js';
import { connect, KnownHosts, type KnownHost } from '../../index.js';
import { callerName, DEFAULT_IDENTITY, formatTlsUrl, loadIdentity, parseTlsUrl } from '../../internal.js';
import { formatSize } from '../words/units.js';
import { bootstrap } from './bootstrap.js';
import type { Done, Settled, SettleReply, SettleRequest } from './dialogue.js';
import { plan, type Work } from './plan.js';
import { readFacts, type Facts } from './platform.js';
import { Channel, resolveDestination, type Resolved } from './ssh.js';

/** Milliseconds for the first link to the new agent. */
const REACH_WITHIN = 10_000;

/** A host to install on. */
export interface Target {
  /** Its name here. */
  readonly name: string;
  /** As ssh takes it: [USER@]HOST. */
  readonly destination: string;
  /** For the whole system rather than one user. */
  readonly system: boolean;
}

export interface Settings {
  /** The program ssh and its options. */
  readonly ssh: readonly string[];
  /** No questions on the terminal: there are several hosts. */
  readonly batch: boolean;
  /** Milliseconds for one host. */
  readonly timeoutMs: number;
  /** Called with what is being done. */
  readonly progress: (name: string, what: string) => void;
}

export interface InstallSettings extends Settings {
  readonly upgrade: boolean;
  /** Where the agent listens, instead of all addresses and `port`. */
  readonly listen: string | undefined;
  readonly port: number;
  /** Where this machine finds it, instead of where ssh does. */
  readonly address: string | undefined;
  readonly tags: Record<string, string>;
}

/** What was done on a host. */
export interface Outcome extends Done {
  readonly how: 'installed' | 'upgraded' | 'there already' | 'uninstalled';
  readonly host: KnownHost | undefined;
  /** A version and its content. */
  readonly version: string | undefined;
  readonly root: string;
  /** The Node program that runs it there. */
  readonly node: string | undefined;
  /** Bytes that went over ssh. */
  readonly copiedBytes: number;
}

/**
 * Installs an agent on a host and pairs with it, or replaces its version. After a failure the host is as it was.
 * @throws SendallError that says what failed, what the host is like now, and what to do.
 */
export async function installHost(target: Target, settings: InstallSettings): Promise<Outcome> {
  const { name, destination } = target;
  const before = KnownHosts.of(resolveHome()).get(name);
  if (before && before.installed?.ssh !== destination)
    throw new UsageError(
      `"${name}" is known already, at ${before.url}: choose another --name, or type "sendall hosts rm ${name}" first`,
    );
  const resolved = await resolveDestination(settings.ssh, destination);
  const channel = open(target, settings);
  let facts: Facts | undefined;
  try {
    settings.progress(name, 'connecting');
    facts = await learn(channel);
    const work = plan(facts, settings.upgrade);
    const copiedBytes = await copy(channel, work, (what) => settings.progress(name, what));
    settings.progress(name, 'starting the agent');
    await channel.ask(`settle ${work.version} ${work.node}`, 'settling');
    const settled = await settle(channel, await request(target, settings, facts));
    const address = settings.address ?? (work.wasThere ? before?.url : undefined) ?? resolved?.hostname ?? destination;
    const entry = await reach(channel, target, { settings, address, resolved, settled });
    const { notes, host } = await commit(channel, entry, before);
    const how = work.isThere ? 'there already' : work.wasThere ? 'upgraded' : 'installed';
    return { how, host, version: work.version, root: facts.root, node: work.node, copiedBytes, notes };
  } catch (error) {
    throw await afterwards(channel, error as Error, facts);
  }
}

/**
 * Removes an installation from a host, and the host from the known ones.
 * @throws SendallError that says what failed and what to do.
 */
export async function uninstallHost(
  target: Target,
  { runs, purge, ...settings }: Settings & { readonly runs: boolean; readonly purge: boolean },
): Promise<Outcome> {
  const channel = open(target, settings);
  try {
    settings.progress(target.name, 'connecting');
    const { root, nodes, installation } = await learn(channel);
    if (!installation)
      throw new SendallError(
        'INSTALL',
        `there is no installation in ${root} there; to forget the host: sendall hosts rm ${target.name}`,
      );
    await channel.ask('begin', 'begun');
    // The Node.js that it was installed with may be gone.
    const node = nodes.includes(installation.node) ? installation.node : (nodes[0] ?? installation.node);
    await channel.ask(`settle ${installation.version} ${node}`, 'settling');
    channel.send(JSON.stringify({ verb: 'uninstall', runs, purge } satisfies SettleRequest));
    const reply = await replyOf(channel);
    if (!('done' in reply)) throw refusal(reply);
    const left = (await channel.end()).find((line) => line.startsWith('left '))?.slice(5);
    const hosts = KnownHosts.of(resolveHome());
    const host = hosts.get(target.name);
    if (host) await hosts.remove(target.name);
    const notes = [...reply.done.notes, ...(left === undefined ? [] : [`${left} could not be removed`])];
    return { how: 'uninstalled', host, version: installation.version, root, node: undefined, copiedBytes: 0, notes };
  } catch (error) {
    throw await afterwards(channel, error as Error);
  }
}

function open({ destination, system }: Target, { ssh, batch, timeoutMs }: Settings): Channel {
  const signal = timeoutMs ? AbortSignal.timeout(timeoutMs) : new AbortController().signal;
  return new Channel({ ssh, destination, bootstrap: bootstrap(system), batch, signal });
}

async function learn(channel: Channel): Promise<Facts> {
  const lines: string[] = [];
  for (let line = await channel.line(); line !== 'ready'; line = await channel.line()) lines.push(line);
  return readFacts(lines);
}

async function copy(
  channel: Channel,
  { packages, nodeProgram }: Work,
  progress: (what: string) => void,
): Promise<number> {
  await channel.ask('begin', 'begun');
  let bytes = 0;
  for (const [kind, what, payload] of [
    ['nodes', 'Node.js', nodeProgram],
    ['versions', 'sendall', packages],
  ] as const) {
    if (!payload) continue;
    progress(`packing ${what}`);
    const archive = await payload.archive();
    await channel.ask(`copy ${kind} ${payload.id} ${archive.length}`, 'go');
    await channel.sendArchive(archive, (sent) =>
      progress(`copying ${what}, ${Math.round((100 * sent) / archive.length)} % of ${formatSize(archive.length)}`),
    );
    bytes += archive.length;
  }
  return bytes;
}

async function request(
  { name }: Target,
  { upgrade, listen, port }: InstallSettings,
  { installation }: Facts,
): Promise<SettleRequest> {
  const { fingerprint } = await loadIdentity(resolveHome(), { create: true });
  const caller = { fingerprint, name: callerName() };
  const verb = upgrade ? 'upgrade' : 'install';
  // It keeps its name and its address.
  if (installation?.state === 'installed') return { verb, caller };
  return { verb, caller, name, listen: listen ?? formatTlsUrl({ host: '0.0.0.0', port }) };
}

async function settle(channel: Channel, request: SettleRequest): Promise<Settled> {
  channel.send(JSON.stringify(request));
  const reply = await replyOf(channel);
  if (!('settled' in reply)) throw refusal(reply);
  return reply.settled;
}

async function replyOf(channel: Channel): Promise<SettleReply> {
  const line = await channel.line();
  try {
    return JSON.parse(line) as SettleReply;
  } catch {
    throw new SendallError('INSTALL', `the host answered ${JSON.stringify(line.slice(0, 80))}`);
  }
}

/** Says what the host has already taken back. */
class TakenBack extends SendallError {}

function refusal(reply: SettleReply): SendallError {
  if ('failed' in reply)
    return reply.now === undefined
      ? new SendallError('INSTALL', reply.failed)
      : new TakenBack('INSTALL', `${reply.failed}; ${reply.now}`);
  return new SendallError('INSTALL', `the host answered ${JSON.stringify(reply).slice(0, 80)}`);
}

/** Lets the host take back what it has begun. Says how it is then. */
async function undo(channel: Channel): Promise<string> {
  channel.send('undo');
  const reply = await replyOf(channel);
  return 'undone' in reply ? reply.undone : refusal(reply).message;
}

interface Reaching {
  readonly settings: InstallSettings;
  readonly address: string;
  readonly resolved: Resolved | undefined;
  readonly settled: Settled;
}

/** Makes the first link to the new agent, with its key from ssh. @throws UnreachableError with what may be in the way. */
async function reach(channel: Channel, { name, destination, system }: Target, reaching: Reaching): Promise<HostEntry> {
  const { settings, address, resolved, settled } = reaching;
  const bound = settled.listening.find((url) => url.startsWith('tls:'));
  if (bound === undefined) throw new SendallError('INSTALL', 'the agent there listens on no address');
  const { port } = parseTlsUrl(bound);
  const url = address.startsWith('tls://') ? address : formatTlsUrl({ host: address, port });
  const entry = { name, url, pin: settled.fingerprint, tags: settings.tags, installed: { ssh: destination, system } };
  settings.progress(name, `calling ${url}`);
  try {
    const options = { timeout: REACH_WITHIN, identity: DEFAULT_IDENTITY };
    await using host = await connect({ name, url, pin: settled.fingerprint }, options);
    await host.ping();
    return entry;
  } catch (error) {
    const now = await undo(channel);
    const jump = resolved?.through === undefined ? '' : `; ssh goes through ${resolved.through}, sendall does not`;
    const next = `open TCP port ${port} for this machine there, or give another way with --port or --address`;
    throw new TakenBack(
      'UNREACHABLE',
      `the agent ran, but does not answer this machine at ${url} (${(error as Error).message})${jump}; ${now}: ${next}`,
      { cause: error },
    );
  }
}

type HostEntry = Parameters<KnownHosts['pair']>[0];

/** Keeps the host here, then lets it keep the installation. Without its word, it is not kept here either. */
async function commit(
  channel: Channel,
  entry: HostEntry,
  before: KnownHost | undefined,
): Promise<Done & { host: KnownHost }> {
  const hosts = KnownHosts.of(resolveHome());
  try {
    await hosts.pair(entry);
  } catch (error) {
    throw new TakenBack('INSTALL', `${(error as Error).message}; ${await undo(channel)}`, { cause: error });
  }
  try {
    channel.send('commit');
    const reply = await replyOf(channel);
    if (!('done' in reply)) throw refusal(reply);
    await channel.end();
    return { ...reply.done, host: hosts.get(entry.name)! };
  } catch (error) {
    if (before) await hosts.pair({ ...before, tags: { ...before.tags } });
    else await hosts.remove(entry.name);
    throw error;
  }
}

/** Lets the host take back what it has, and adds to the error what became of it. */
async function afterwards(channel: Channel, error: Error, facts?: Facts): Promise<Error> {
  const last = await channel.end().catch((): readonly string[] => []);
  channel.kill();
  if (!(error instanceof SendallError)) return error;
  const left = last.find((line) => line.startsWith('left '))?.slice(5);
  if (left !== undefined) return withText(error, `${error.message}; ${left} could not be removed there`);
  // Before that nothing was done; and what the host has taken back, it has told already.
  if (!facts || error instanceof TakenBack) return error;
  if (!last.includes('over')) return withText(error, `${error.message}; the host takes back by itself what was done`);
  return withText(
    error,
    `${error.message}; ${facts.installation ? 'what was there before is unchanged' : 'nothing was left there'}`,
  );
}

function withText({ code }: SendallError, text: string): SendallError {
  return code === 'UNREACHABLE' ? new UnreachableError(text) : new SendallError(code, text);
}

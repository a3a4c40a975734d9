/**
 * The Node half of an installation, on the host: starts the agent of the unpacked version, waits for the caller's word
 * that it can be reached, and takes everything back without it.
 */
import { existsSync, rmdirSync, rmSync, writeSync } from 'node:fs';
import { createServer } from 'node:net';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { SendallError } from '../../errors.js';
import { resolveHome, type Home } from '../../home.js';
import type { AgentStatus } from '../../index.js';
import { Callers, formatTlsUrl, parseTlsUrl } from '../../internal.js';
import type { Command } from '../words/command.js';
import { agentStatus } from '../hosts/agent-process.js';
import { MARK, type Done, type SettleReply, type SettleRequest, type Verdict } from './dialogue.js';
import { Layout, type Installation } from './layout.js';
import { agentWords, linger, serviceOf, type Service } from './service.js';

/** Milliseconds to wait for the caller's word. */
const VERDICT_WITHIN = 120_000;
/** Milliseconds in which what the keeper left behind has noted the ends of its commands. */
const NOTING_WITHIN = 10_000;

/** What is to be done at each end. */
interface Change {
  readonly status?: AgentStatus;
  commit(): Promise<Done> | Done;
  /** Says how it is now. */
  undo(): Promise<string>;
}

/** A failure after which the host was changed back. */
class Undone extends SendallError {
  readonly now: string;

  constructor(cause: Error, now: string) {
    super('INSTALL', cause.message, { cause });
    this.now = now;
  }
}

/** A command that people do not type. */
export const settleCommand: Command = {
  name: 'settle',
  usage: '',
  summary: 'the half of "hosts install" that runs on the host',
  examples: [],
  options: {},
  run: settle,
};

/** Does what the caller asks on stdin, and answers on stdout. Resolves to the exit code: 0 when it is done for good. */
async function settle(): Promise<number> {
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  const next = async (): Promise<string | undefined> => {
    const { value, done } = (await lines.next()) as IteratorResult<string>;
    return done ? undefined : value;
  };
  try {
    const request = JSON.parse((await next()) ?? '{}') as SettleRequest;
    const change = await begin(request);
    if (change.status) {
      const { fingerprint, listening, version, runs } = change.status;
      say({ settled: { fingerprint, listening, version, runs } });
      if ((await inTime(next())) !== ('commit' satisfies Verdict)) {
        say({ undone: await change.undo() });
        return 1;
      }
    }
    say({ done: await change.commit() });
    return 0;
  } catch (error) {
    say({ failed: (error as Error).message, ...(error instanceof Undone && { now: error.now }) });
    return 1;
  }
}

function say(reply: SettleReply): void {
  try {
    writeSync(1, `${MARK} ${JSON.stringify(reply)}\n`);
  } catch {
    // The caller has gone: what is to be done now does not depend on it.
  }
}

async function inTime(verdict: Promise<string | undefined>): Promise<string | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => (timer = setTimeout(() => resolve(undefined), VERDICT_WITHIN)));
  return await Promise.race([verdict, late]).finally(() => clearTimeout(timer));
}

async function begin(request: SettleRequest): Promise<Change> {
  const { layout, version } = Layout.ofProgram();
  const before = layout.read();
  const service = serviceOf(layout, before);
  if (request.verb === 'uninstall') return uninstall(request, layout, before, service);
  const running = await agentStatus();
  if (!before && running) throw foreign(running);
  const name = request.name ?? before?.name;
  if (name === undefined) throw new SendallError('INSTALL', 'the request lacks a name');
  const wanted = { version, node: process.execPath, name, ...(await addressesOf(running, before, request)) };
  const home = resolveHome();
  const newFolders = [home.config, home.state, home.runtime].map(missing);
  const callers = new Callers(home);
  const { caller } = request;
  const isNewCaller =
    caller !== undefined && !callers.list().some(({ fingerprint }) => fingerprint === caller.fingerprint);
  const isSame = running !== undefined && before?.state === 'installed' && before.version === version;
  const record: Installation = { ...before, ...wanted, state: 'begun', service: service.kind, units: service.files };

  const undo = async (): Promise<string> => {
    if (isNewCaller) await callers.remove(caller.fingerprint).catch(() => undefined);
    if (isSame) return 'the agent there runs as before';
    if (before?.state === 'installed') {
      layout.use(before);
      layout.write(before);
      await service.restart(before);
      return `the version from before (${before.version}) runs there again`;
    }
    await service.remove({ runs: false });
    newFolders.forEach(removeNew);
    layout.forget();
    return 'nothing was left there';
  };
  try {
    if (!isSame) {
      layout.write(record);
      layout.use(wanted);
    }
    const status = isSame ? running : running ? await service.restart(wanted) : await service.start(wanted);
    // A key that is known keeps its rights.
    if (isNewCaller) await callers.add(caller);
    return {
      status,
      undo,
      commit: () => commit(layout, isSame ? before : record),
    };
  } catch (error) {
    const now = await undo().catch((failure: Error) => `it could not be undone: ${failure.message}`);
    throw new Undone(error as Error, now);
  }
}

/** Where the new agent listens: where the old one does, or would. */
async function addressesOf(
  running: AgentStatus | undefined,
  before: Installation | undefined,
  { listen }: SettleRequest,
): Promise<Pick<Installation, 'listen' | 'broker'>> {
  const urls = running?.listening.filter((url) => !url.startsWith('unix:'));
  if (urls?.length) return { listen: urls, broker: running?.broker };
  if (before?.state === 'installed') return { listen: before.listen, broker: before.broker };
  if (listen === undefined) throw new SendallError('INSTALL', 'the request lacks an address');
  return { listen: [await freeAddress(listen)] };
}

/** A folder that does not exist and its ancestors that do not, from the innermost. */
function missing(folder: string): readonly string[] {
  return existsSync(folder) ? [] : [folder, ...missing(dirname(folder))];
}

/** Removes what is in a new folder, and its new ancestors where nothing else has come into them. */
function removeNew([folder, ...ancestors]: readonly string[]): void {
  if (folder === undefined) return;
  rmSync(folder, { recursive: true, force: true });
  try {
    for (const each of ancestors) rmdirSync(each);
  } catch {
    // Another program uses it by now.
  }
}

function foreign({ pid, version }: AgentStatus): SendallError {
  return new SendallError(
    'INSTALL',
    `an agent that was not installed this way runs there already (pid ${pid}, version ${version}): pair with it ("sendall pair --new" there), or stop it there first`,
  );
}

/** The address with a port that is free now. */
async function freeAddress(listen: string): Promise<string> {
  const { host, port } = parseTlsUrl(listen);
  const server = createServer();
  const bound = await new Promise<number>((resolve, reject) => {
    server.once('error', ({ code, message }: NodeJS.ErrnoException) =>
      reject(
        new SendallError(
          'INSTALL',
          code === 'EADDRINUSE'
            ? `port ${port} is in use there: choose another with --port`
            : `the agent cannot listen on ${listen} there: ${code === 'EACCES' ? 'only root may use this port' : message}`,
        ),
      ),
    );
    server.listen({ host, port }, () => resolve((server.address() as { port: number }).port));
  });
  await new Promise((resolve) => server.close(resolve));
  return formatTlsUrl({ host, port: bound });
}

/** Where people look for commands. */
const linkPath = ({ root }: Layout): string =>
  join(root.startsWith('/usr/local/') ? '/usr/local/bin' : join(homedir(), '.local/bin'), 'sendall');

function commit(layout: Layout, record: Installation): Done {
  const notes: string[] = [];
  let { lingers } = record;
  if (record.service === 'background') {
    notes.push(
      `the agent runs in the background, for there is no systemd for this user; after a reboot, start it with "sendall hosts install ${record.name}" from here, or there with "${[layout.command, 'agent', ...agentWords(record)].join(' ')}"`,
    );
  } else if (process.getuid?.() !== 0) {
    const allowed = linger(true);
    if (allowed) lingers = true;
    if (allowed === false)
      notes.push('the agent ends when this user logs out: have an administrator type "loginctl enable-linger" there');
  }
  const link = layout.link(linkPath(layout));
  layout.write({ ...record, state: 'installed', ...(link && { link }), ...(lingers && { lingers }) });
  layout.sweep(record);
  return { notes };
}

async function uninstall(
  { runs = false, purge = false }: SettleRequest,
  layout: Layout,
  before: Installation | undefined,
  service: Service,
): Promise<Change> {
  const running = await agentStatus();
  if (running?.runs && !runs)
    throw new SendallError(
      'INSTALL',
      `${running.runs === 1 ? 'a command runs' : `${running.runs} commands run`} there: wait for the end, or add --runs to end ${running.runs === 1 ? 'it' : 'them'}`,
    );
  return {
    async commit() {
      const isOver = await service.remove({ runs });
      if (before?.link) layout.unlink(before.link);
      if (before?.lingers) linger(false);
      const home = resolveHome();
      const folders = [...new Set([home.config, home.state, home.runtime])].filter((folder) => existsSync(folder));
      const isPurged = purge && isOver;
      if (isPurged) for (const folder of folders) await removeFolder(folder);
      layout.forget();
      return {
        notes: [
          ...(isOver ? [] : ['a command has begun there meanwhile and goes on; its keeper ends with it']),
          ...(isPurged || !folders.length ? [] : [kept(home)]),
        ],
      };
    },
    undo: async () => 'nothing was done',
  };
}

/** Removes a folder in which what the keeper left behind may still be noting the end of a command. */
async function removeFolder(folder: string): Promise<void> {
  for (const last = Date.now() + NOTING_WITHIN; ;) {
    try {
      return rmSync(folder, { recursive: true, force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOTEMPTY' || Date.now() > last) throw error;
      await pause(50);
    }
  }
}

function kept({ config, state }: Home): string {
  const what =
    config === state
      ? `${config} (keys, past runs and their output)`
      : `${config} (keys) and ${state} (past runs and their output)`;
  return `left there: ${what}; --purge removes them, too`;
}

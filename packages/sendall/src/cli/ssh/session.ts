/** A call as a run of the account's own shell: connects, starts it, carries its bytes, and tells its end. */
import { isatty } from 'node:tty';
import type { Host, Run, RunOptions } from '../../index.js';
import { AT_A_TERMINAL, reach, shareOf, wishesOf } from '../hosts/reach.js';
import { onSignal } from '../leaving/signals.js';
import { reasonOf } from '../show/print.js';
import { isInForeground } from '../terminal/foreground.js';
import { ownTerminal } from '../terminal/own-terminal.js';
import { Arguments } from '../words/command.js';
import { ownStdin } from '../words/stdin.js';
import type { Call } from './call.js';
import { carry } from './carry.js';
import { placeOf } from './destination.js';
import { letGo } from './descriptors.js';
import { codeOf } from './ending.js';
import { FAILED } from './failed.js';
import { forwardCode, forwardFrom } from './forward.js';
import { narrate } from './narration.js';
import { subsystemScript } from './subsystem.js';
import { variablesNamed } from './variables.js';
import type { Voice } from './voice.js';

/** Milliseconds for which the host keeps a run whose caller's link is lost: longer than a caller tries. */
const HOST_WAITS = 660_000;
const STDIN = 0;
/** Milliseconds for a command to end after we got a signal; then the host ends it without us. */
const LAST_WORDS = 1000;

/**
 * Runs the call's command. Resolves to the exit code.
 * @throws UsageError, UnreachableError or RefusedError before there is a run.
 */
export async function runCall(call: Call, voice: Voice): Promise<number> {
  const script = scriptOf(call);
  const { forward } = call;
  const terminal = forward === undefined && wantsTerminal(call, script.length > 0, voice);
  // Its keys and its screen are ours to handle; in the background they are another job's.
  const joined = terminal && isatty(0) && call.readsStdin && isInForeground();
  const signals = new Signals();
  const { target } = placeOf(call.hostName ?? call.host, call.port);
  const stopTelling = narrate(target, voice);
  const args = argumentsOf(call);
  const host = await signals.or(reach(target, args, joined ? { ...AT_A_TERMINAL, ...wishesOf(args) } : shareOf(args)));
  if (typeof host === 'string') return killed(host, voice);
  const options: RunOptions = {
    ...surroundings(call),
    ...(terminal ? { pty: ownTerminal() } : { waitFor: 'eof' }),
    // What a terminal shows is its present; a command that waits for us would not be.
    ...(joined ? { stdin: 'pipe', overflow: 'drop-old' } : { stdin: stdinOf(call) }),
  };
  // Loaded first: the run's echo must be asked for as soon as the run is made.
  const converse = joined ? await signals.or(conversation()) : undefined;
  if (typeof converse === 'string') return killed(converse, voice);
  const run = forward === undefined ? host.accountShell(script, options) : forwardFrom(host, forward, options);
  run.started.then(({ pid }) => voice.tell(`${host.id}: the command runs as process ${pid}`)).catch(() => undefined);
  if (converse) {
    signals.off();
    return await converse(call, host, run, args, voice);
  }
  const carried = carry(run);
  const first = await signals.or(carried);
  if (typeof first === 'string') {
    await cancel(run, first, carried);
    // So ssh ends its ProxyCommand when it is done.
    return forward !== undefined && first === 'SIGHUP' ? FAILED : killed(first, voice);
  }
  stopTelling();
  const code = (forward === undefined ? codeOf : forwardCode)(first.result, voice, first.readerLeft);
  if (!first.lost) return code;
  voice.fail(`cannot write to ${first.lost.stream}: ${reasonOf(first.lost.error)}`);
  return FAILED;
}

/** The words joined by blanks, as ssh does it. */
function scriptOf({ subsystem, sftpServer, command }: Call): Uint8Array {
  if (subsystem) return subsystemScript(command, sftpServer);
  return Buffer.concat(command.flatMap((word, i) => (i ? [Buffer.from(' '), word] : [word])));
}

/** Whether the command gets a terminal. Source: OpenSSH, ssh.c. */
function wantsTerminal({ requestTty = 'auto', readsStdin }: Call, hasCommand: boolean, voice: Voice): boolean {
  if (requestTty === 'force') return true;
  const wanted = requestTty === 'yes' || (requestTty === 'auto' && !hasCommand);
  if (wanted && (!isatty(0) || !readsStdin)) {
    const words = 'the command gets no terminal, because our stdin is none (-tt gives it one)';
    if (requestTty === 'yes') voice.note(words);
    else voice.tell(words);
    return false;
  }
  return wanted;
}

function stdinOf({ readsStdin }: Call): RunOptions['stdin'] {
  if (!readsStdin) return 'none';
  const source = ownStdin(true, 'leave it alone with -n');
  // The command reads no more. Node itself never closes this descriptor.
  if (source === process.stdin) process.stdin.once('close', () => letGo(STDIN));
  return source;
}

function surroundings({ user, setEnv, sendEnv }: Call): RunOptions {
  return {
    ...(user === undefined ? {} : { runAs: user }),
    env: [...variablesNamed(sendEnv), ...setEnv],
    reject: false,
    verbose: 'none',
    onDisconnect: { termAfter: HOST_WAITS },
    keep: HOST_WAITS,
  };
}

/** What the call says of the way to the host, as our other commands have it. */
function argumentsOf({ shares, identity, via, connectTimeout, quiet }: Call): Arguments {
  const given: [string, string | undefined | false][] = [
    ['no-share', shares ? false : undefined],
    ['quiet', quiet ? undefined : false],
    ['identity', identity ?? false],
    ['via', via ?? false],
    ['connect-timeout', connectTimeout ? `${connectTimeout}ms` : false],
  ];
  const values = given.flatMap(([name, value]) =>
    value === false ? [] : [[name, [value === undefined ? undefined : Buffer.from(value)]] as const],
  );
  return new Arguments(new Map(values), [], undefined);
}

/** Loads what joins our terminal to a command's. What it escapes to ends the command: it is nothing without us. */
async function conversation() {
  const { converse } = await import('../runs/terminal.js');
  const { showWaiting } = await import('../show/waiting.js');
  return (call: Call, host: Host, run: Run, args: Arguments, voice: Voice): Promise<number> =>
    converse(run, args, {
      typed: showWaiting(host, run, args),
      own: {
        escapes: { key: call.escapeKey, without: ['detach'] },
        ended: ({ result }) => codeOf(result, voice),
        left: () => FAILED,
      },
    });
}

async function cancel(run: Run, signal: NodeJS.Signals, carried: Promise<unknown>): Promise<void> {
  if (!run.linked) return;
  void run.cancel({ reason: `its caller was ended by ${signal}` }).catch(() => undefined);
  const late = new Promise<void>((resolve) => setTimeout(resolve, LAST_WORDS).unref());
  await Promise.race([carried, late]);
}

function killed(signal: NodeJS.Signals, voice: Voice): number {
  voice.fail(`ended by ${signal}`);
  return FAILED;
}

/** Signals that end us, and with us the command. */
class Signals {
  readonly #came: Promise<NodeJS.Signals>;
  readonly #watched: (() => void)[];

  constructor() {
    let came!: (signal: NodeJS.Signals) => void;
    this.#came = new Promise((resolve) => (came = resolve));
    // Programs end their ssh with SIGUSR1 too, at which Node would open a debugger.
    this.#watched = (['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1'] as const).map((signal) =>
      onSignal(signal, () => came(signal)),
    );
  }

  /** The value, or the signal that came before it. */
  async or<T>(value: Promise<T>): Promise<T | NodeJS.Signals> {
    return await Promise.race([value, this.#came]);
  }

  off(): void {
    for (const off of this.#watched) off();
  }
}

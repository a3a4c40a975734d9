/** Joins our terminal to a run's: typed keys go there, and its output is drawn here. */
import { spawnSync } from 'node:child_process';
import { isatty } from 'node:tty';
import { UsageError } from '../../errors.js';
import type { Run } from '../../index.js';
import { ScreenModes } from '../../internal.js';
import { graceOf } from './accompany.js';
import type { Arguments } from '../words/command.js';
import { CODES, detach, isDeparture } from '../leaving/departure.js';
import { EscapeReader, type Escape, type EscapeKeys } from '../terminal/escapes.js';
import { EXIT } from '../words/exit-codes.js';
import { isInForeground } from '../terminal/foreground.js';
import { withoutAnswers } from '../words/terminal-input.js';
import { screenSize } from '../terminal/own-terminal.js';
import { conclude, type Followed } from '../show/follow.js';
import { watchLeaving, watchSignals, type Departure } from '../leaving/interrupt.js';
import { PredictedEcho } from '../terminal/predicted-echo.js';
import { lastWords } from '../show/print.js';
import { Replay } from '../terminal/replay.js';
import { finish, put, standardSinks, type LostOutput, type Sinks } from '../show/sink.js';
import { clearStatus, leaveScreenTo, makeWay } from '../show/status-line.js';

/** Milliseconds that `~.` waits for the far shell to end. */
const LAST_WORDS = 1000;

const HELP = [
  'Typed after a newline:',
  '  ~.  leave and end the shell',
  '  ~d  detach: it goes on, sendall attach finds it again',
  '  ~^Z suspend: fg in the shell here comes back to it',
  '  ~~  send one ~',
  '  ~?  this help',
];

/** Bytes that may wait for our terminal to draw them: the next key's effect appears after them. */
const SHOWN = 32 * 1024;
const TAKEN = '[sendall: another terminal has taken over, this one watches; Ctrl-C leaves]';
const WATCHING = '[sendall: this terminal only watches; Ctrl-C leaves]';
const CTRL_C = 3;

export interface Seat {
  /** The program has already drawn on another terminal. */
  readonly joined?: boolean;
  /** Keys go nowhere, and the program's screen keeps its size. */
  readonly watching?: boolean;
  /** Called when keys were sent to the host, so a response is expected. */
  readonly typed?: () => void;
  /** The run ends with us however we leave, and what the codes are is for its caller to say. */
  readonly own?: OwnRun;
}

export interface OwnRun {
  readonly escapes: EscapeKeys;
  /** The exit code when it has ended by itself; prints why where that is not plain. */
  ended(followed: Followed): number;
  /** The exit code when the user left. */
  left(): number;
}

/** Stays with the run until it ends or the user leaves. */
export async function converse(run: Run, args: Arguments, seat: Seat = {}): Promise<number> {
  const { joined = false, typed, own } = seat;
  const size = new SizeKeeper(run);
  let watching = seat.watching ?? false;
  const nudge = () => void (watching || size.nudge());
  const terminal = new RawTerminal(nudge);
  const modes = new ScreenModes();
  const watch = seat.watching ? watchLeaving(['SIGHUP', 'SIGINT', 'SIGTERM']) : watchSignals(run, graceOf(args));
  let escaped!: (escape: Escape) => void;
  const escape = new Promise<Escape>((resolve) => (escaped = resolve));
  let left!: (how: Departure) => void;
  const departed = new Promise<Departure>((resolve) => (left = resolve));
  void watch.departed.then(left);
  const sinks = standardSinks(SHOWN);
  const echo = args.on('no-predict') || watching ? undefined : predictedEcho(run, sinks);
  const shown = show(run, sinks, modes, joined, echo);
  const tellTaken = () => process.stderr.write(`\r\n${seat.watching ? WATCHING : TAKEN}\r\n`);
  void run.controlLost.then(() => {
    watching = true;
    tellTaken();
  });
  const suspend = () => {
    terminal.restore(`${modes.undo()}\r\n`);
    process.kill(process.pid, 'SIGSTOP');
  };
  const onEscape = (escape: Exclude<Escape, 'help'>) => (escape === 'suspend' ? suspend() : escaped(escape));
  const onTyped = readKeys(new EscapeReader(own?.escapes), onEscape, (keys) => {
    if (watching) {
      if (keys.includes(CTRL_C)) left('interrupted');
      else tellTaken();
    } else {
      echo?.typed(keys);
      type(run, keys);
      typed?.();
    }
  });
  const onKeys = withoutAnswers(onTyped);
  // The terminal itself is gone; the user has not ended the shell.
  const gone = () => left('hungUp');
  try {
    terminal.raw();
    process.stdin.on('data', onKeys).on('end', gone).on('error', gone);
    process.stdout.on('error', gone);
    process
      .on('SIGWINCH', () => void (watching || size.changed()))
      .on('SIGCONT', () => {
        if (!isInForeground()) return;
        terminal.raw();
        process.stdout.write(modes.redo());
        nudge();
      });
    if (joined) nudge();
    const first = await Promise.race([shown, departed, escape]);
    // What is typed now is for the shell here.
    process.stdin.off('data', onKeys).pause();
    echo?.stop();
    if (typeof first === 'object') {
      // A program that ended by itself has restored the modes.
      terminal.restore(['ok', 'failed'].includes(first.result.outcome) ? '' : modes.undo());
      if (own) return own.ended(first);
      return conclude(run, first, { json: false, quiet: args.on('quiet'), encoding: undefined });
    }
    if (own) {
      await endShell(run, shown);
      terminal.restore(`${modes.undo()}\r\n`);
      return own.left();
    }
    const taken = watching && !seat.watching;
    const how = isDeparture(first) ? first : first === 'detach' || watching ? 'detached' : undefined;
    const end = how ? await letGo(run, how, taken) : await endShell(run, shown);
    terminal.restore(`${modes.undo()}\r\n`);
    if (!args.on('quiet') && (isatty(2) || end.code === EXIT.hungUp)) await lastWords(2, end.words);
    return end.code;
  } finally {
    watch.off();
    terminal.restore('');
  }
}

async function letGo(run: Run, how: Departure, taken: boolean): Promise<{ words: string; code: number }> {
  const words = await detach(run, how);
  return {
    words: taken ? `sendall: left it to the other terminal: sendall attach ${run.runId}` : `sendall: ${words}`,
    code: CODES[how],
  };
}

/** Hangs up like a closing terminal, and makes sure the shell ends; does not wait for a host that does not answer. */
async function endShell(run: Run, shown: Promise<unknown>): Promise<{ words: string; code: number }> {
  void run.kill('SIGHUP').catch(() => undefined);
  void run.cancel({ reason: 'left with ~.', grace: LAST_WORDS / 2 }).catch(() => undefined);
  const ended = shown.then(() => true);
  const late = new Promise<boolean>((resolve) => setTimeout(() => resolve(false), LAST_WORDS).unref());
  const words = (await Promise.race([ended, late]))
    ? 'sendall: left, and the shell was ended'
    : `sendall: left; to see whether the shell has ended: sendall attach ${run.runId}`;
  return { words, code: EXIT.cancelled };
}

/** Shows keys on our screen before their echo arrives, and removes wrong ones. */
function predictedEcho(
  run: Run,
  sinks: Sinks,
): { typed(keys: Buffer): void; drawn(bytes: Buffer): Buffer; stop(): void } {
  let echo: PredictedEcho | undefined;
  let timer: NodeJS.Timeout | undefined;
  const draw = (bytes: Buffer) => {
    if (bytes.length) sinks.out.write(bytes);
  };
  const watch = (): void => {
    clearTimeout(timer);
    const dueAt = echo?.dueAt;
    if (dueAt === undefined) return;
    timer = setTimeout(
      () => {
        draw(echo!.look());
        watch();
      },
      Math.max(1, dueAt - performance.now()),
    ).unref();
  };
  let left = false;
  run.followEcho((bits) => {
    if (left) return;
    echo ??= new PredictedEcho(run.roundTripMs);
    draw(echo.terminal(bits));
  });
  return {
    typed(keys) {
      if (!echo) return;
      draw(echo.typed(keys));
      watch();
    },
    drawn: (bytes) => echo?.drawn(bytes) ?? bytes,
    stop() {
      left = true;
      clearTimeout(timer);
      if (echo) draw(echo.terminal(undefined));
      echo = undefined;
    },
  };
}

/** Draws the host's output as it arrives. */
async function show(
  run: Run,
  sinks: Sinks,
  modes: ScreenModes,
  joined: boolean,
  echo: { drawn(bytes: Buffer): Buffer } | undefined,
): Promise<Followed> {
  const replay = joined ? new Replay(run, modes) : undefined;
  let lostOutput: LostOutput | undefined;
  sinks.out.on('error', (error) => {
    lostOutput ??= { stream: 'stdout', error };
    run.stopReading('stdout');
  });
  if (replay) await run.attached.then(async () => await put(sinks.out, replay.begin())).catch(() => undefined);
  for await (const event of run.events()) {
    if (event.event === 'output') {
      if (!replay) modes.watch(event.bytes);
      const drawn = replay ? replay.draw(event.bytes, event.offset) : event.bytes;
      await put(sinks.out, echo?.drawn(drawn) ?? drawn);
    } else if (event.event === 'result') {
      await finish(sinks);
      return { result: event.result, gaps: false, lostOutput };
    }
  }
  throw new UsageError('the run ended without a result');
}

function type(run: Run, keys: Buffer): void {
  const { stdin } = run;
  if (stdin.write(keys) || stdin.errored || stdin.destroyed) return;
  // The host is reading a paste slowly; Ctrl-C waits behind it, as on any terminal.
  process.stdin.pause();
  const goOn = (): void => {
    stdin.off('drain', goOn).off('close', goOn);
    if (process.stdin.listenerCount('data')) process.stdin.resume();
  };
  stdin.on('drain', goOn).on('close', goOn);
}

function readKeys(
  reader: EscapeReader,
  escaped: (escape: Exclude<Escape, 'help'>) => void,
  typed: (keys: Buffer) => void,
): (keys: Buffer) => void {
  return (read) => {
    let keys: Buffer | undefined = read;
    while (keys) {
      const { bytes, escape, rest } = reader.read(keys);
      if (bytes.length) typed(bytes);
      keys = rest;
      if (escape === 'help') process.stderr.write(['', ...HELP, ''].join('\r\n'));
      else if (escape) escaped(escape);
      // Without us, what is behind it must not be typed into the program that was left.
      if (escape === 'leave' || escape === 'detach') return;
    }
  };
}

/** Reports the size of our screen to the host: one message at a time, always with the latest size. */
class SizeKeeper {
  readonly #run: Run;
  #told: readonly [number, number] = [0, 0];
  #telling = false;

  constructor(run: Run) {
    this.#run = run;
  }

  readonly changed = () => void this.#tell();

  /** Makes programs redraw. They notice only real changes of size, so it changes the size twice. */
  async nudge(): Promise<void> {
    const [cols, rows] = screenSize();
    await this.#run.resize(cols, Math.max(1, rows - 1)).catch(() => undefined);
    this.#told = [cols, rows - 1];
    await this.#tell();
  }

  async #tell(): Promise<void> {
    if (this.#telling) return;
    this.#telling = true;
    for (let size = screenSize(); size[0] !== this.#told[0] || size[1] !== this.#told[1]; size = screenSize()) {
      this.#told = size;
      await this.#run.resize(...size).catch(() => undefined);
    }
    this.#telling = false;
  }
}

/** Switches our terminal's own handling of keys and output off and on again. */
class RawTerminal {
  readonly #saved = stty('-g').trim();
  readonly #redraw: () => void;
  #isRaw = false;

  /** `redraw`: asks the host's program to redraw its screen. */
  constructor(redraw: () => void) {
    this.#redraw = redraw;
  }

  /** Node's own raw mode would still turn every newline from the host into two characters. */
  raw(): void {
    this.#isRaw = true;
    leaveScreenTo(this.#redraw);
    if (this.#saved) stty('raw', '-echo');
    else process.stdin.setRawMode(true);
  }

  /** Restores the terminal. `modes`: the sequence that undoes the changes of the host's programs. */
  restore(modes: string): void {
    if (!this.#isRaw) return;
    this.#isRaw = false;
    clearStatus();
    leaveScreenTo(undefined);
    makeWay(1, Buffer.from(modes));
    if (modes) process.stdout.write(modes);
    if (this.#saved) stty(this.#saved);
    else process.stdin.setRawMode(false);
  }
}

/** stty(1) on our stdin. Empty when the system lacks it. */
function stty(...words: readonly string[]): string {
  return spawnSync('stty', words, { stdio: ['inherit', 'pipe', 'ignore'], encoding: 'utf8' }).stdout ?? '';
}

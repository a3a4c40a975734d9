/** Leaving a run before its end: the message, and the exit code, which is 0 only if the user asked to leave. */
import type { FleetRun, Run } from '../../index.js';
import type { Arguments } from '../words/command.js';
import { jsonLine } from '../show/control-characters.js';
import { EXIT } from '../words/exit-codes.js';
import { speaks } from '../show/follow.js';
import type { Departure } from './interrupt.js';
import { lastWords } from '../show/print.js';

/** Milliseconds for the host to hear that we leave and for our reader to take pending output: either may be stuck. */
const LEAVE_WITHIN = 2000;

export const CODES: Readonly<Record<Departure, number>> = {
  detached: EXIT.ok,
  hungUp: EXIT.hungUp,
  abandoned: EXIT.cancelled,
  interrupted: EXIT.interrupted,
  terminated: EXIT.terminated,
};

const REASONS: Readonly<Record<Departure, string>> = {
  detached: 'asked for',
  hungUp: 'SIGHUP',
  abandoned: 'left before it was cancelled',
  interrupted: 'SIGINT',
  terminated: 'SIGTERM',
};

export function isDeparture(how: string): how is Departure {
  return Object.hasOwn(CODES, how);
}

/** `shown` settles when all received output was shown. Resolves to the process's exit code. */
export async function leave(run: Run, how: Departure, shown: Promise<unknown>, args: Arguments): Promise<number> {
  const words = await detach(run, how, shown);
  const { host, runId, offsets } = run;
  if (args.on('json')) await lastWords(1, jsonLine({ event: 'detached', host, runId, offsets, reason: REASONS[how] }));
  await speak(words, how, args);
  return CODES[how];
}

/** Like `leave`, for many hosts. */
export async function leaveMany(
  runs: FleetRun,
  how: Departure,
  shown: Promise<unknown>,
  args: Arguments,
): Promise<number> {
  if (how !== 'abandoned') await within(runs.detach().then(async () => await shown));
  const { runId } = runs;
  const notStarted = runs.notStarted.toString();
  if (args.on('json')) await lastWords(1, jsonLine({ event: 'detached', runId, notStarted, reason: REASONS[how] }));
  const words = how === 'abandoned' ? 'left before all were cancelled' : `${LEFT[how]}, the commands go on`;
  await speak(`${words}: sendall attach ${runId}${notStarted && `; ${notStarted} never started`}`, how, args);
  return notStarted && how === 'detached' ? EXIT.notStarted : CODES[how];
}

/** Detaches in bounded time. Resolves to the message. */
export async function detach(run: Run, how: Departure, shown?: Promise<unknown>): Promise<string> {
  const { runId, state } = run;
  const see = `sendall attach ${runId}`;
  if (how === 'abandoned') return `left before it was cancelled; see what became of it: ${see}`;
  const heard = await within(run.detach().then(async () => await shown));
  return !heard && (state === 'queued' || state === 'starting')
    ? `${LEFT[how]} before it was known to have started: ${see}`
    : `${LEFT[how]}${state === 'exited' ? ' before all of its output was shown' : ', the command goes on'}: ${see}`;
}

const LEFT: Readonly<Record<Exclude<Departure, 'abandoned'>, string>> = {
  detached: 'detached',
  hungUp: 'hung up',
  interrupted: 'left',
  terminated: 'left',
};

/** A user who asked to leave knows the run; otherwise its id is printed even if stderr is no terminal. */
async function speak(words: string, how: Departure, args: Arguments): Promise<void> {
  if (how === 'hungUp' || how === 'abandoned' ? !args.on('quiet') : speaks(args))
    await lastWords(2, `sendall: ${words}`);
}

/** True when it finished in time. */
async function within(done: Promise<unknown>): Promise<boolean> {
  const late = new Promise<boolean>((resolve) => setTimeout(() => resolve(false), LEAVE_WITHIN).unref());
  return await Promise.race([
    done.then(
      () => true,
      () => true,
    ),
    late,
  ]);
}

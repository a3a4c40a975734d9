/** Starts commands: on one host as a run that goes on by itself, on several as a fleet run of this console. */
import { NodeSet, type Run } from '../../index.js';
import { noteRun } from '../../internal.js';
import { SendallError } from '../../errors.js';
import { aimAt, fleetOf, isOneHost } from '../aim.js';
import { beginOn, planOn, type Command } from '../command.js';
import type { Context } from '../context.js';
import type { Lease } from '../links.js';
import type { Value } from '../messages.js';
import type { Answer } from './answer.js';

export const run: Answer<'run'> = async (asked, context) => {
  const { targets, only, runId, ...command } = asked;
  if (only === undefined && isOneHost(targets)) return await startOne(targets, command, runId, context);
  return startMany(aimAt(asked, context), command, runId, context);
};

export const again: Answer<'again'> = async ({ runId, on = 'failed' }, context) => {
  const before = context.fleets.remembered(runId);
  if (!before)
    throw new SendallError(
      'NOT_KEPT',
      `the words of ${runId} are not kept, as this console did not start it: run the command with only: ${on}:${runId}`,
    );
  const { command, targets } = before;
  const names = aimAt({ targets, only: `${on}:${runId}` }, context);
  const { folded, count, runId: next } = startMany(names, command, undefined, context);
  return { folded, count, runId: next };
};

async function startOne(
  name: string,
  command: Command,
  runId: string | undefined,
  context: Context,
): Promise<Value<'run'>> {
  const lease = await context.links.use(name);
  let started: Run;
  try {
    started = beginOn(lease.host, command, runId);
    await started.attached;
  } catch (error) {
    lease[Symbol.dispose]();
    throw error;
  }
  noteRun(context.home, { runId: started.runId, host: name, name: command.options?.name });
  void leave(started, command, lease);
  return { kind: 'run', runId: started.runId, host: name, count: 1, folded: name };
}

/** Lets the run go on by itself once it has begun, and has all of its input. */
async function leave(started: Run, { options }: Command, lease: Lease): Promise<void> {
  try {
    const { stdin } = options ?? {};
    await started.started;
    if (typeof stdin === 'object') await inputTaken(started);
    await started.detach();
  } catch {
    // It never began, or its end is here already.
  } finally {
    lease[Symbol.dispose]();
  }
}

/** The host has taken the whole input, or the command reads no more, or has ended. */
async function inputTaken(started: Run): Promise<void> {
  const { stdin } = started;
  if (stdin.writableFinished) return;
  await Promise.race([
    new Promise<void>((resolve) => stdin.once('finish', resolve).once('close', resolve)),
    started.exited.catch(() => undefined),
  ]);
}

function startMany(
  names: readonly string[],
  command: Command,
  runId: string | undefined,
  context: Context,
): Value<'run'> {
  const folded = new NodeSet(names).toString();
  const count = names.length;
  // Repeated because its answer was lost.
  if (runId !== undefined && context.fleets.isLive(runId)) return { kind: 'fleet', runId, count, folded };
  const planned = planOn(fleetOf(names, context), command, runId);
  context.fleets.begin(planned, names, command);
  return { kind: 'fleet', runId: planned.runId, count, folded };
}

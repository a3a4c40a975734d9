/** Joins an existing run: until its end, or only for the output so far. */
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { UsageError, type SendallError } from '../../errors.js';
import { fleet, type AttachOptions, type Host, type Run, type StreamName } from '../../index.js';
import { accompany } from '../runs/accompany.js';
import type { Arguments, Command, Option } from '../words/command.js';
import { leave } from '../leaving/departure.js';
import { EXIT } from '../words/exit-codes.js';
import { findBegun, findOptions, oneWord, type Place } from '../hosts/find-run.js';
import { joinRecording } from '../hosts/history.js';
import { conclude, follow, speaks, viewOf, type FollowOptions } from '../show/follow.js';
import { echoOptions } from '../terminal/predicted-echo.js';
import { watchLeaving } from '../leaving/interrupt.js';
import { say } from '../show/print.js';
import { AT_A_TERMINAL, reach, reachOptions, shareOf } from '../hosts/reach.js';
import { stdinFor } from '../words/stdin.js';
import { showWaiting } from '../show/waiting.js';

const TAKEN = 'someone else is in control: this one only reads, and Ctrl-C leaves it';

const shown: Readonly<Record<string, Option>> = {
  ...findOptions,
  json: { help: 'one JSON object a line on stdout' },
  quiet: { short: 'q', help: 'print no messages of our own' },
  encoding: { value: 'LABEL', help: 'convert its output from this encoding (gbk, big5, …) to UTF-8' },
  ...reachOptions,
};
const FROM = { value: '0|tail:N|OFFSET|end', help: 'where to begin in its stdout (default 0)' };
/** Bytes of a terminal's session to redraw: more than any screen and some lines above it. */
const SCREENS = 64 * 1024;

export const attach: Command = {
  name: 'attach',
  usage: '[OPTIONS] RUN',
  summary: 'join a run, from its first byte or any other; ends with its code',
  examples: ['sendall attach nightly', 'sendall attach nightly --from tail:4096'],
  options: {
    ...shown,
    from: {
      ...FROM,
      help: 'where to begin in its stdout (default 0; for a terminal session on a terminal, its last 64 KiB)',
    },
    ...echoOptions,
    observe: { help: 'only read, without stdin or control (default while another caller has control)' },
    stdin: { value: 'FILE', optionalValue: true, help: 'continue its stdin from ours or a file; takes control' },
  },
  complete: 'run',
  async run(args) {
    const word = oneWord(args, 'attach');
    const { places, run } = await findBegun(word, args);
    const options: AttachOptions = { from: startOf(args.text('from')), reject: false };
    if (args.on('observe') && args.on('stdin'))
      throw new UsageError('--observe and --stdin contradict each other: leave one out');
    if (places.length > 1) {
      if (args.on('stdin')) throw new UsageError(`it runs on ${places.length} hosts: choose one with --on for --stdin`);
      const { showMany } = await import('../runs/many.js');
      const hosts = fleet(
        places.map(({ target }) => target),
        shareOf(args),
      );
      const controlled = async (place: Place) => {
        await using host = await reach(place.target, args);
        return await isControlled(host, place.runId);
      };
      // Attaching reports unreachable hosts.
      const asked = places.map((place) => controlled(place).catch(() => false));
      const observe = args.on('observe') || (await Promise.all(asked)).some(Boolean);
      const running = hosts.attach(places, { ...options, mode: observe ? 'observe' : 'control' });
      if (observe && !args.on('observe') && speaks(args)) say(`sendall: ${TAKEN}`);
      // Its output is recorded only from the first byte.
      const recording = args.on('from') ? undefined : joinRecording(args, run);
      return await showMany(args, running, { part: observe ? 'watching' : 'joined', recording });
    }
    const { target, runId } = places[0]!;
    const input = args.on('stdin') ? stdinFor(args) : 'none';
    await using host = await reach(target, args);
    const observe = args.on('observe') || (input === 'none' && (await isControlled(host, runId)));
    const running = host.attach(runId, { ...options, mode: observe ? 'observe' : 'control' });
    const show = async (running: Run) => {
      showWaiting(host, running, args);
      if (observe && !args.on('observe') && speaks(args)) say(`sendall: ${TAKEN}`);
      if (input !== 'none') void pipeline(input as Readable, running.stdin).catch(() => undefined);
      return await accompany(running, args, observe ? 'watching' : 'joined');
    };
    if (args.on('json') || input !== 'none' || !(await isTerminal(running))) return await show(running);
    const { converse } = await import('../runs/terminal.js');
    const { hasTerminal } = await import('../terminal/own-terminal.js');
    if (!hasTerminal()) return await show(running);
    const lives = running.state === 'running';
    const ended = ['exited', 'ended', 'lost'].includes(running.state);
    const seen = args.on('from') ? options : { ...options, from: { tail: SCREENS } };
    if (!lives && (args.on('from') || !ended)) return await show(running);
    await running.detach();
    if (ended) return await show(host.attach(runId, { ...seen, mode: 'observe' }));
    await using own = await reach(target, args, AT_A_TERMINAL);
    // The run's terminal takes the size of ours.
    const watching = args.on('observe');
    const seat = own.attach(runId, { ...seen, mode: watching ? 'observe' : 'control' });
    return await converse(seat, args, { joined: true, watching, typed: showWaiting(own, seat, args) });
  },
};

/** Whether another caller has control: attaching must not take it from a caller that writes stdin. */
async function isControlled(host: Host, runId: string): Promise<boolean> {
  for await (const listing of host.runs()) if (listing.runId === runId) return listing.controlled;
  return false;
}

/** Whether its host no longer knows it. */
async function isForgotten(running: Run): Promise<boolean> {
  try {
    await running.attached;
    return false;
  } catch {
    return (await running).outcome === 'lost';
  }
}

/** Whether its output comes from a terminal. */
async function isTerminal(running: Run): Promise<boolean> {
  try {
    await running.attached;
  } catch {
    return false;
  }
  return running.hasTerminal;
}

function startOf(text: string | undefined): number | 'end' | { tail: number } {
  if (text === undefined) return 0;
  if (text === 'end') return 'end';
  const tail = /^tail:(\d{1,15})$/.exec(text);
  if (tail) return { tail: Number(tail[1]) };
  if (!/^\d{1,15}$/.test(text)) throw new UsageError(`--from: "${text}" is neither an offset, tail:N nor end`);
  return Number(text);
}

export const logs: Command = {
  name: 'logs',
  usage: '[OPTIONS] RUN',
  summary: 'print what a run has written so far',
  examples: ['sendall logs nightly', 'sendall logs nightly -f --stderr', 'sendall logs nightly -f --from tail:4096'],
  options: {
    ...shown,
    from: FROM,
    follow: { short: 'f', help: 'follow it to its end' },
    stderr: { help: 'its stderr only' },
    stdout: { help: 'its stdout only' },
    raw: { help: 'print the original bytes: the default, and the opposite of --encoding' },
  },
  complete: 'run',
  async run(args) {
    if (args.on('raw') && args.on('encoding')) throw new UsageError('--raw and --encoding contradict each other');
    const from = startOf(args.text('from'));
    const { places, run } = await findBegun(oneWord(args, 'logs'), args);
    if (places.length > 1)
      throw new UsageError(`it runs on ${places.length} hosts: choose one with --on, or see all with sendall attach`);
    const { target, runId } = places[0]!;
    const past =
      run?.resultOn(target) &&
      (async () =>
        await (await import('../runs/past-logs.js')).showPast(run, target, { from, only: onlyOf(args) }, args));
    const reached = await reach(target, args).catch((error: SendallError) => {
      if (!past || error.code !== 'UNREACHABLE') throw error;
      if (!args.on('quiet')) say(`sendall: ${error.message}; this is from the history`);
      return undefined;
    });
    if (!reached) return await past!();
    await using host = reached;
    const options: FollowOptions = {
      ...viewOf(args),
      only: onlyOf(args),
      joined: true,
      soFar: !args.on('follow'),
      left: false,
    };
    const running = host.attach(runId, { mode: 'observe', from, reject: false });
    if (past && (await isForgotten(running))) {
      if (!args.on('quiet')) say(`sendall: ${target} no longer knows the run; this is from the history`);
      return await past();
    }
    showWaiting(host, running, args);
    const { departed } = watchLeaving();
    const shown = follow(running, options);
    const first = await Promise.race([shown, departed]);
    if (typeof first === 'string') {
      options.left = true;
      return await leave(running, first, shown, args);
    }
    const code = conclude(running, first, options);
    // The exit code reports whether we could show everything, not how the command ended.
    return code >= EXIT.usage || code === EXIT.brokenPipe ? code : 0;
  },
};

/** The one stream that was asked for. */
function onlyOf(args: Arguments): StreamName | undefined {
  if (args.on('stderr') === args.on('stdout')) return undefined;
  return args.on('stderr') ? 'stderr' : 'stdout';
}

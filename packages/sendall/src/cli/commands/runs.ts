/** Commands about runs that exist: list, join, wait for, end, forget. */
import { connect, UsageError, type RunListing } from '../../index.js';
import type { Command, Option } from '../command.js';
import { exitCodeOf } from '../exit-codes.js';
import { resultJson } from '../follow.js';
import { findRun } from '../history.js';
import { answer, json, say, table } from '../print.js';
import { parseDuration } from '../units.js';
import { accompany } from './run.js';

const on: Record<string, Option> = {
  on: { value: 'TARGET', help: 'look for the run there (default: where it was started)', complete: 'host' },
};
const asJson: Record<string, Option> = { json: { help: 'one JSON object a line on stdout' } };
const shown: Record<string, Option> = {
  ...on,
  ...asJson,
  quiet: { short: 'q', help: 'say nothing of our own' },
  encoding: { value: 'LABEL', help: 'turn its output from this encoding into UTF-8' },
};

function oneRun(words: readonly string[], command: string): string {
  if (words.length !== 1) throw new UsageError(`${command} takes one run: its id, the beginning of it, or its name`);
  return words[0]!;
}

function age(run: RunListing): string {
  const seconds = Math.round(((run.endMs ?? Date.now()) - (run.startMs ?? run.openedMs)) / 1000);
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m${seconds % 60}s`;
  return `${Math.floor(seconds / 3600)}h${Math.floor((seconds % 3600) / 60)}m`;
}

function stateOf(run: RunListing): string {
  if (run.blocked) return `${run.state}, blocked(${run.blocked})`;
  if (run.cause) return run.cause;
  if (run.signal) return run.signal;
  if (run.code !== undefined) return `exit ${run.code}`;
  return run.state;
}

export const ps: Command = {
  name: 'ps',
  usage: '[TARGET]',
  summary: 'list runs: those that have not ended, or all that are kept',
  example: 'sendall ps web1 --all',
  options: { all: { short: 'a', help: 'finished ones too' }, ...asJson },
  complete: 'host',
  async run(args) {
    await using host = await connect(args.words[0] ?? 'local');
    const rows: string[][] = [['RUN', 'STATE', 'TIME', 'PID', 'NAME', 'COMMAND']];
    for await (const each of host.runs({ all: args.on('all') })) {
      if (args.on('json')) json({ event: 'run', ...each });
      else
        rows.push([
          each.runId,
          stateOf(each),
          age(each),
          String(each.pid ?? '-'),
          each.name ?? '-',
          each.argv.join(' ').slice(0, 200),
        ]);
    }
    if (!args.on('json')) process.stdout.write(`${table(rows)}\n`);
    return 0;
  },
};

export const attach: Command = {
  name: 'attach',
  usage: 'RUN',
  summary: 'join a run, from its first byte or any other; ends with its code',
  example: 'sendall attach nightly --from tail:4096',
  options: {
    ...shown,
    from: { value: '0|tail:N|OFFSET|end', help: 'where its stdout begins (default 0)' },
    observe: { help: 'only read: no stdin, no say in what is kept' },
  },
  complete: 'run',
  async run(args) {
    const { host, runId } = await findRun(oneRun(args.words, 'attach'), args.text('on'));
    await using _ = host;
    const running = host.attach(runId, {
      from: startOf(args.text('from')),
      mode: args.on('observe') ? 'observe' : 'control',
      reject: false,
    });
    return await accompany(running, args);
  },
};

function startOf(text: string | undefined): number | 'end' | { tail: number } {
  if (text === undefined) return 0;
  if (text === 'end') return 'end';
  const tail = /^tail:(\d+)$/.exec(text);
  if (tail) return { tail: Number(tail[1]) };
  if (!/^\d+$/.test(text)) throw new UsageError(`--from: "${text}" is neither an offset, tail:N nor end`);
  return Number(text);
}

export const logs: Command = {
  name: 'logs',
  usage: 'RUN',
  summary: 'print what a run has written so far',
  example: 'sendall logs nightly --stderr',
  options: {
    ...shown,
    follow: { short: 'f', help: 'go on until it ends' },
    stderr: { help: 'its stderr only' },
    stdout: { help: 'its stdout only' },
    raw: { help: 'bytes as they are (always so; kept for scripts)' },
  },
  complete: 'run',
  async run(args) {
    const { host, runId, listing } = await findRun(oneRun(args.words, 'logs'), args.text('on'));
    await using _ = host;
    const only = args.on('stderr') === args.on('stdout') ? undefined : args.on('stderr') ? 'stderr' : 'stdout';
    const running = host.attach(runId, { mode: 'observe', reject: false });
    if (args.on('follow') || (listing && listing.endMs !== undefined)) {
      const code = await accompany(running, args, only);
      return args.on('follow') ? code : code >= 200 ? code : 0;
    }
    // Not to its end: as much as there was when we asked.
    let stdout = listing?.stdoutBytes ?? 0;
    let stderr = listing?.stderrBytes ?? 0;
    if (stdout + stderr === 0) return 0;
    for await (const event of running.events()) {
      if (event.event !== 'output') break;
      const left = event.stream === 'stdout' ? stdout : stderr;
      const piece = event.bytes.subarray(0, left);
      if (event.stream === 'stdout') stdout -= piece.length;
      else stderr -= piece.length;
      if (only === undefined || only === event.stream)
        (event.stream === 'stderr' ? process.stderr : process.stdout).write(piece);
      if (stdout + stderr === 0) break;
    }
    return 0;
  },
};

export const wait: Command = {
  name: 'wait',
  usage: 'RUN…',
  summary: 'wait until runs have ended; the code of the one, or 1 when one of several failed',
  example: 'sendall wait nightly',
  options: { ...on, ...asJson },
  complete: 'run',
  async run(args) {
    if (!args.words.length) throw new UsageError('wait needs at least one run');
    const codes = await Promise.all(
      args.words.map(async (word) => {
        const { host, runId } = await findRun(word, args.text('on'));
        await using _ = host;
        const running = host.attach(runId, { mode: 'observe', from: 'end', reject: false });
        // Its output is not wanted here.
        running.stopCollecting();
        const result = await running;
        if (args.on('json')) json(resultJson(result));
        return exitCodeOf(result);
      }),
    );
    return codes.length === 1 ? codes[0]! : codes.every((code) => code === 0) ? 0 : 1;
  },
};

export const result: Command = {
  name: 'result',
  usage: 'RUN',
  summary: 'what became of a run, with all of its output checked',
  example: 'sendall result nightly --json',
  options: { ...on, ...asJson },
  complete: 'run',
  async run(args) {
    const { host, runId } = await findRun(oneRun(args.words, 'result'), args.text('on'));
    await using _ = host;
    const running = host.attach(runId, { mode: 'observe', reject: false });
    running.stopCollecting();
    const ended = await running;
    if (args.on('json')) json(resultJson(ended));
    else answer(`${ended.outcome}: ${ended.reason}`);
    return exitCodeOf(ended);
  },
};

export const kill: Command = {
  name: 'kill',
  usage: 'RUN',
  summary: 'end a run and all it started: TERM, grace, KILL; or send one signal with -s',
  example: 'sendall kill nightly --grace 10s',
  options: {
    ...on,
    ...asJson,
    signal: { value: 'SIGNAL', short: 's', help: 'only send this signal to its process group' },
    grace: { value: 'TIME', help: 'time between TERM and KILL (default 5s)' },
  },
  complete: 'run',
  async run(args) {
    const { host, runId } = await findRun(oneRun(args.words, 'kill'), args.text('on'));
    await using _ = host;
    const running = host.attach(runId, { mode: 'observe', from: 'end', reject: false });
    running.stopCollecting();
    await running.attached;
    const grace = args.text('grace');
    const signal = args.text('signal');
    const report =
      signal === undefined
        ? await running.cancel({ reason: 'sendall kill', ...(grace ? { grace: parseDuration(grace, '--grace') } : {}) })
        : await running.kill(signal);
    if (args.on('json')) json({ event: 'killed', host: host.id, runId, ...report });
    else {
      if (report.result !== 'done') say(`sendall: ${report.result}`);
      for (const { pid, argv } of report.survivors) say(`sendall: still running: ${pid} ${argv.join(' ')}`);
      if (report.survivors.length === 0 && report.proof === 'unproven')
        say('sendall: nothing of it was found running; without a cgroup that is not proven');
    }
    return report.result === 'done' && report.survivors.length === 0 ? 0 : 1;
  },
};

export const forget: Command = {
  name: 'forget',
  usage: 'RUN',
  summary: 'remove a finished run and its output from the host',
  example: 'sendall forget nightly',
  options: on,
  complete: 'run',
  async run(args) {
    const { host, runId } = await findRun(oneRun(args.words, 'forget'), args.text('on'));
    await using _ = host;
    await host.forget(runId);
    return 0;
  },
};

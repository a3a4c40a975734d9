import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Host, RunOptions, VerboseEvent } from 'sendall';
import { ownAgent, type OwnAgent } from './own-agent.js';

let own: OwnAgent;
let host: Host;
beforeAll(async () => {
  own = await ownAgent();
  host = own.host;
});
afterAll(() => own[Symbol.asyncDispose]());

/** The stderr of a new process that runs this text. */
async function told(script: string, options: RunOptions, env: Record<string, string> = {}): Promise<string[]> {
  const program = `
    import { connect, resolveHome } from 'sendall';
    const host = await connect('local', { home: resolveHome(process.env) });
    await host.sh(${JSON.stringify(script)}, ${JSON.stringify({ ...options, reject: false })});
    await host.close();`;
  const { stdout, stderr } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program], {
    env: { ...process.env, SENDALL_HOME: own.home.state, ...env },
  });
  expect(stdout).toBe('');
  return stderr
    .split('\n')
    .slice(0, -1)
    .map((line) => line.replace(/^\[\d\d:\d\d:\d\d\.\d{3}\] /, '').replace(/\(run [0-9a-f-]{36}\)/, '(run ID)'))
    .map((line) => line.replace(/\(\d+ ms\)/, '(N ms)'));
}

describe('verbose', () => {
  test('short prints the start and the end on stderr, without the command’s arguments', async () => {
    expect(await told('echo out; exit 3 # hunter2', { verbose: 'short', name: 'nightly' })).toEqual([
      '[0] local $ sh "nightly" (run ID)',
      '[0] local ✘ the command ended with code 3 (N ms)',
    ]);
  });

  test('full prints each line of output too, safe to print', async () => {
    const lines = await told(String.raw`printf 'a\nb\033\n'; echo e >&2; printf last`, { verbose: 'full' });
    expect([lines.at(0), lines.at(-1)]).toEqual([
      '[0] local $ sh (run ID)',
      '[0] local ✔ the command ended with code 0 (N ms)',
    ]);
    // Between the two streams the order is that of arrival.
    expect(lines.filter((line) => line.includes(' > '))).toEqual([
      '[0] local  > a',
      String.raw`[0] local  > b\u{1b}`,
      '[0] local  > last',
    ]);
    expect(lines.filter((line) => line.includes('2> '))).toEqual(['[0] local 2> e']);
  });

  test('comes from SENDALL_VERBOSE, unless the option says otherwise', async () => {
    expect(await told('true', {}, { SENDALL_VERBOSE: 'short' })).toHaveLength(2);
    expect(await told('true', { verbose: 'none' }, { SENDALL_VERBOSE: 'full' })).toEqual([]);
    expect(await told('true', {})).toEqual([]);
    await expect(told('true', {}, { SENDALL_VERBOSE: 'loud' })).rejects.toThrow(
      /SENDALL_VERBOSE: "loud" is not one of none, short, full/,
    );
  });

  test('a function gets lines and events, of every capture and of a run that is read', async () => {
    for (const capture of ['split', 'exact'] as const) {
      const events: VerboseEvent[] = [];
      const shown: string[] = [];
      const run = host.sh('echo out; seq 3 >&2', {
        capture,
        verbose: (line, event) => {
          events.push(event);
          shown.push(line);
        },
      });
      const { runId } = run;
      for await (const _ of run.lines());
      const { stderr } = await run;
      expect(stderr).toBe('1\n2\n3\n');
      expect(events.at(0)).toEqual({ type: 'start', host: 'local', runId, program: 'sh', name: undefined });
      const said = events.flatMap((event) => (event.type === 'output' ? [`${event.stream} ${event.line}`] : []));
      expect(said.toSorted()).toEqual(['stderr 1', 'stderr 2', 'stderr 3', 'stdout out']);
      expect(events.at(-1)).toMatchObject({ type: 'end', result: { ok: true } });
      expect(shown).toHaveLength(events.length);
    }
  });

  test('an error in its function is uncaught, and ends neither the run nor the link', async () => {
    const program = `
      import { connect, resolveHome } from 'sendall';
      process.on('uncaughtException', ({ message }) => console.log('uncaught', message));
      const host = await connect('local', { home: resolveHome(process.env) });
      const run = host.run(['echo', 'x'], { verbose: () => { throw new Error('ours'); } });
      console.log((await run).ok, host.resumes);
      await host.close();`;
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program], {
      env: { ...process.env, SENDALL_HOME: own.home.state },
    });
    expect(stdout.split('\n').toSorted()).toEqual(['', 'true 0', 'uncaught ours', 'uncaught ours', 'uncaught ours']);
  });

  test('accepts no other word', () => {
    expect(() => host.run(['true'], { verbose: 'loud' } as object)).toThrow(
      /^verbose: "loud" is not one of none, short/,
    );
    expect(() => host.run(['true'], { verbose: true } as object)).toThrow(/^verbose: true is not/);
  });
});

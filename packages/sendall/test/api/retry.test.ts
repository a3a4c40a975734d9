import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect, fleet, RunError, testHosts, UsageError, type Host, type Result } from 'sendall';
import { within } from '../../../../test/support/waits.js';
import { ownAgent, type OwnAgent } from './own-agent.js';

let own: OwnAgent;
let host: Host;
let folder: string;
beforeAll(async () => {
  own = await ownAgent();
  host = own.host;
  folder = mkdtempSync(join(tmpdir(), 'sendall-retry-'));
});
afterAll(async () => {
  await own[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

const lines = (file: string): number => readFileSync(file, 'utf8').split('\n').length - 1;
/** Succeeds at the n-th try. */
const atTry = (n: number, file: string): string =>
  `echo "out $(wc -l < '${file}')"; echo x >> '${file}'; [ $(wc -l < '${file}') -ge ${n} ]`;
let files = 0;
function empty(): string {
  const file = join(folder, `tries-${files++}`);
  writeFileSync(file, '');
  return file;
}

describe('a run that was started', () => {
  test('is tried again when it is idempotent, under a new run id each time', async () => {
    const file = empty();
    const seen: [string, number][] = [];
    const when = ({ runId }: Result, tries: number): boolean => seen.push([runId, tries]) > 0;
    const run = host.sh(atTry(3, file), { idempotent: true, retry: { times: 5, when } });
    const first = run.runId;
    const { ok, stdout, runId } = await run;
    expect([ok, stdout, lines(file)]).toEqual([true, 'out 2\n', 3]);
    expect(seen.map(([, tries]) => tries)).toEqual([1, 2]);
    expect(new Set([...seen.map(([id]) => id), runId]).size).toBe(3);
    expect([seen[0]![0], run.runId]).toEqual([first, runId]);
    expect((await host.attach(first, { reject: false })).code).toBe(1);
  });

  test('is not tried again unless it is idempotent', async () => {
    const file = empty();
    await expect(host.sh(atTry(2, file), { retry: 5 })).rejects.toThrow(RunError);
    expect(lines(file)).toBe(1);
  });

  test('fails with its last result when no try is left', async () => {
    const file = empty();
    const { code, stdout } = await host.sh(atTry(9, file), { idempotent: true, retry: 2, reject: false });
    expect([code, stdout, lines(file)]).toEqual([1, 'out 2\n', 3]);
  });

  test('that wrote nothing is tried again too, and stdin is sent again', async () => {
    const file = empty();
    const script = `cat > /dev/null; ${atTry(2, file).replace(/^[^;]+;/, '')} && cat '${file}'`;
    expect((await host.sh(script, { idempotent: true, retry: 1, stdin: 'text' })).stdout).toBe('x\nx\n');
  });

  test('is not tried again when its output was read as a stream', async () => {
    const file = empty();
    const run = host.sh(atTry(2, file), { idempotent: true, retry: 5, reject: false });
    const seen: string[] = [];
    for await (const line of run.lines()) seen.push(line);
    expect([seen, (await run).ok, lines(file)]).toEqual([['out 0'], false, 1]);
  });

  test('is not tried again once its caller has left it in the pause', async () => {
    const when = (): boolean => {
      void run.detach();
      return true;
    };
    const run = host.run(['false'], { idempotent: true, retry: { times: 5, delay: '1h', when }, reject: false });
    const { outcome, reason } = await within(run, 'its end');
    expect([outcome, reason]).toEqual(['cancelled', 'detached before the next try']);
  });

  test('takes no signal between two tries', async () => {
    await using one = await testHosts(1, { agent: { maxRunsPerLink: 1 } });
    const [busy] = one.hosts;
    const holder = busy!.run(['cat'], { stdin: 'pipe' });
    await holder.started;
    let report: Awaited<ReturnType<typeof holder.kill>> | undefined;
    // The host has refused the first try, and knows nothing of it.
    const when = async (): Promise<boolean> => {
      report = await within(run.kill(), 'the report');
      holder.stdin.end();
      return (await holder).ok;
    };
    const run = busy!.run(['echo', 'here'], { retry: { times: 1, when } });
    expect((await run).stdout).toBe('here\n');
    expect(report).toMatchObject({ result: 'it waits for its next try', signalled: [] });
  });

  test('is not tried again after cancelling, or aborting during the pause', async () => {
    const run = host.run(['sleep', '60'], { idempotent: true, retry: 5, reject: false });
    await run.started;
    await run.cancel({ grace: 0 });
    expect((await run).outcome).toBe('cancelled');
    const controller = new AbortController();
    const when = (): boolean => {
      queueMicrotask(() => controller.abort());
      return true;
    };
    const paused = host.run(['false'], {
      idempotent: true,
      retry: { times: 5, delay: '1h', when },
      signal: controller.signal,
      reject: false,
    });
    expect((await paused).outcome).toBe('cancelled');
  });
});

describe('a run that never started', () => {
  test('is tried again on request', async () => {
    const program = join(folder, 'program');
    const when = ({ refusal }: Result): boolean => {
      writeFileSync(program, '#!/bin/sh\necho made\n');
      chmodSync(program, 0o755);
      return refusal === 'nofile';
    };
    const run = host.run([program], { retry: { times: 1, delay: '1ms', when } });
    const seen: string[] = [];
    for await (const line of run) seen.push(line);
    expect([seen, (await run).ok]).toEqual([['made'], true]);
  });

  test('is not tried again by default when another try cannot help', async () => {
    let asked = 0;
    const count = (): boolean => ++asked < 0;
    await expect(host.run(['no-such-program'], { retry: { times: 5, when: count } })).rejects.toThrow(
      /no-such-program/,
    );
    expect(asked).toBe(1);
    await expect(host.run(['no-such-program'], { retry: 5 })).rejects.toThrow(/no-such-program/);
  });

  test('because its host was left is unreachable after all tries', async () => {
    const other = await connect('local', { home: own.home });
    await other.close();
    let asked = 0;
    const { outcome } = await other.run(['true'], {
      retry: { times: 3, when: () => ++asked > 0 },
      reject: false,
    });
    expect([outcome, asked]).toEqual(['unreachable', 3]);
  });

  test('rejects with the error of its own `when` as the cause', async () => {
    const why = new Error('a fault of ours');
    const when = (): boolean => {
      throw why;
    };
    await expect(host.run(['no-such-program'], { retry: { times: 1, when } })).rejects.toMatchObject({ cause: why });
  });
});

test.each([
  [{ retry: -1 }, /^retry: -1 is not a whole number of further tries/],
  [{ retry: { delay: 1 } }, /^retry: /],
  [{ retry: { times: 1, delay: 'soon' } }, /^retry: /],
  [{ retry: 1, runId: '0192f0c1-7d3a-7cc1-98ab-001122334455' }, /leave out runId$/],
  [{ retry: 1, stdin: 'pipe' }, /give stdin as text or bytes$/],
  [{ retry: 1, stdin: Readable.from([]) }, /give stdin as text or bytes$/],
  [{ retry: 1, stdout: { file: '/dev/null' } }, /leave out stdout$/],
  [{ retry: 1, capture: 'exact' }, /leave out capture$/],
])('%j is refused', (options, message) => {
  expect(() => host.run(['true'], options as object)).toThrow(UsageError);
  expect(() => host.run(['true'], options as object)).toThrow(message);
  expect(() => fleet('local', { home: own.home }).run(['true'], { retry: 1 } as object)).toThrow(/no fleet run option/);
});

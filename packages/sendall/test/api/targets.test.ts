import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createWriteStream, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { Writable } from 'node:stream';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fleet, UsageError, type Host } from 'sendall';
import { ownAgent, type OwnAgent } from './own-agent.js';

let own: OwnAgent;
let host: Host;
let folder: string;
beforeAll(async () => {
  own = await ownAgent();
  host = own.host;
  folder = mkdtempSync(join(tmpdir(), 'sendall-targets-'));
});
afterAll(async () => {
  await own[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

const read = (file: string): string => readFileSync(file, 'utf8');

/** A Writable that keeps its input. */
function keeping(): { sink: Writable; text: () => string } {
  const chunks: Buffer[] = [];
  const write = (chunk: Buffer, _encoding: unknown, done: () => void): void => {
    chunks.push(chunk);
    done();
  };
  return { sink: new Writable({ write }), text: () => Buffer.concat(chunks).toString() };
}

describe('stdout and stderr go', () => {
  test('into files, complete before the result resolves', async () => {
    const [out, err] = [join(folder, 'out'), join(folder, 'err')];
    const run = host.sh('head -c 5000000 /dev/urandom | tee /dev/fd/3 3>&1 >&2; echo', {
      stdout: { file: out },
      stderr: { file: pathToFileURL(err) },
      sha256: true,
    });
    const { stdout, stderr, finals, sha256 } = await run;
    expect([stdout, stderr, finals]).toEqual(['', '', { stdout: 5_000_001, stderr: 5_000_000 }]);
    expect(createHash('sha256').update(readFileSync(out)).digest('hex')).toBe(sha256.stdout);
    expect(createHash('sha256').update(readFileSync(err)).digest('hex')).toBe(sha256.stderr);
  });

  test('to the end of a file with append, else replacing its content', async () => {
    const file = join(folder, 'log');
    writeFileSync(file, 'old\n');
    await host.run(['echo', 'a'], { stdout: { file, append: true } });
    expect(read(file)).toBe('old\na\n');
    await host.run(['echo', 'b'], { stdout: { file } });
    expect(read(file)).toBe('b\n');
  });

  test('both into one file', async () => {
    const file = join(folder, 'both');
    await host.sh('for i in 1 2 3; do echo out; echo err >&2; done', { stdout: { file }, stderr: { file } });
    expect(read(file).split('\n').sort().join()).toBe(',err,err,err,out,out,out');
  });

  test('into a stream, which is ended once the last run has', async () => {
    const { sink, text } = keeping();
    const runs = ['a', 'b'].map((word) => host.sh(`echo ${word}; echo ${word} >&2`, { stdout: sink, stderr: sink }));
    await Promise.all(runs);
    await finished(sink);
    expect(text().split('\n').sort().join('')).toBe('aabb');
  });

  test('nowhere with "ignore", and the command does not notice', async () => {
    const { stdout, stderr, code } = await host.sh('seq 100000; echo e >&2', { stdout: 'ignore' });
    expect([stdout, stderr, code]).toEqual(['', 'e\n', 0]);
  });

  test('of a run that was attached to', async () => {
    const file = join(folder, 'attached');
    const run = host.run(['seq', '1000']);
    const { stdout } = await run;
    await host.attach(run.runId, { stdout: { file } });
    expect(read(file)).toBe(stdout);
  });

  test('to our own stdout and stderr with "inherit"', async () => {
    const script = `
      import { connect, resolveHome } from 'sendall';
      const host = await connect('local', { home: resolveHome(process.env) });
      const { ok, stdout } = await host.sh('echo out; echo err >&2', { stdout: 'inherit', stderr: 'inherit' });
      process.stdout.write(JSON.stringify({ ok, stdout }));
      await host.close();`;
    const { stdout, stderr } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], {
      env: { ...process.env, SENDALL_HOME: own.home.state },
    });
    expect([stdout, stderr]).toEqual(['out\n{"ok":true,"stdout":""}', 'err\n']);
  });
});

describe('a run with unwritten bytes is never ok:', () => {
  test('a full disk ends the command and fails the promise', async () => {
    const run = host.run(['yes'], { stdout: { file: '/dev/full' } });
    await expect(run).rejects.toMatchObject({
      code: 'TRUNCATED',
      message: expect.stringMatching(/not all of stdout was written to \/dev\/full: ENOSPC.*\(local: yes\)/) as string,
      cause: { cause: { code: 'ENOSPC' } },
    });
  });

  test('even if the command had already ended with 0', async () => {
    const run = host.sh('echo x >&2');
    await run;
    const { outcome, code, reason } = await host.attach(run.runId, { stderr: { file: '/dev/full' }, reject: false });
    expect([outcome, code, reason]).toEqual(['truncated', 0, expect.stringContaining('not all of stderr was written')]);
  });

  test.each([
    ['fails', (sink: Writable) => sink.destroy(new Error('no more'))],
    ['was closed', (sink: Writable) => sink.destroy()],
  ])('a stream that %s', async (_name, close) => {
    const { sink } = keeping();
    const run = host.run(['yes'], { stdout: sink, reject: false });
    await run.started;
    close(sink);
    expect((await run).outcome).toBe('truncated');
  });

  test('a reader that stops reading', async () => {
    const run = host.run(['yes'], { stdout: keeping().sink, reject: false });
    await run.started;
    run.stopReading('stdout');
    const { outcome, reason } = await run;
    expect([outcome, reason]).toEqual(['truncated', expect.stringContaining('its reader stopped')]);
  });

  test('a stalled stream holds the command up until it is aborted', async () => {
    const controller = new AbortController();
    const sink = new Writable({ write: () => controller.abort() });
    const { outcome } = await host.run(['echo', 'x'], { stdout: sink, signal: controller.signal, reject: false });
    expect(outcome).toBe('cancelled');
  });

  test('a stalled stream holds up an ended command until it is cancelled', async () => {
    const sink = new Writable({ write: () => undefined });
    const run = host.run(['echo', 'x'], { stdout: sink, reject: false });
    await run.exited;
    await run.cancel();
    const { outcome } = await run;
    expect(outcome).toBe('cancelled');
  });
});

describe('refused before anything starts:', () => {
  test.each([
    [{ file: '/no/such/folder/out' }, /^stdout: \/no\/such\/folder\/out cannot be written: ENOENT$/],
    [{ file: tmpdir() }, /cannot be written: EISDIR$/],
    [{ file: '' }, /^stdout: \{ file \} is not one of pipe, inherit, ignore/],
    [{ file: 'x', mode: 1 }, /^stdout: /],
    [{ append: true }, /^stdout: \{ append: true \} is not/],
    ['file', /^stdout: "file" is not one of/],
    [5, /^stdout: 5 is not/],
  ])('stdout: %j', (stdout, message) => {
    expect(() => host.run(['true'], { stdout } as object)).toThrow(UsageError);
    expect(() => host.run(['true'], { stdout } as object)).toThrow(message);
  });

  test('for a fleet, whose hosts would write into one', () => {
    expect(() => fleet('local', { home: own.home }).run(['true'], { stdout: { file: 'x' } } as object)).toThrow(
      /^there is no fleet run option "stdout"$/,
    );
  });

  test('text() and events() of redirected output', async () => {
    const run = host.run(['echo', 'x'], { stdout: createWriteStream('/dev/null') });
    await expect(run.text()).rejects.toThrow(/went where its option stdout says/);
    await expect(run.events().next()).rejects.toThrow(UsageError);
    expect((await run).ok).toBe(true);
  });
});

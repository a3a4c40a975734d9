import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect, fleet, RunError, UsageError, type Host } from 'sendall';
import { ownAgent, type OwnAgent } from './own-agent.js';

let own: OwnAgent;
let host: Host;
beforeAll(async () => {
  own = await ownAgent();
  host = own.host;
});
afterAll(() => own[Symbol.asyncDispose]());

const WORD = 128 * 1024 - 1;

describe('a wrong option is refused by name before anything starts:', () => {
  test.each([
    [{ maxBuffer: Number.NaN }, /^maxBuffer: NaN is not a whole number of bytes from 0 to \d+, or Infinity$/],
    [{ maxBuffer: '1k' }, /^maxBuffer: "1k" is not/],
    [{ maxOutput: 1.5 }, /^maxOutput: 1.5 is not a whole number of bytes/],
    [{ onDisconnect: 'drop' }, /^onDisconnect: "drop" is not one of keep, or \{ termAfter:/],
    [{ onDisconnect: {} }, /^onDisconnect: \{\} is not/],
    [{ onDisconnect: { termAfter: 1, grace: 1 } }, /^onDisconnect: \{ termAfter: 1, grace: 1 \} is not/],
    [{ name: 5 }, /^name: 5 is not text/],
    [{ name: '' }, /^name: "" is not text of at least one character$/],
    [{ tags: 'a' }, /^tags: "a" is not an array/],
    [{ tags: [5] }, /^tags: an array is not an array of which each is text/],
    [{ signal: {} }, /^signal: \{\} is not an AbortSignal$/],
    [{ signal: new AbortController() }, /^signal: an object \(AbortController\) is not an AbortSignal$/],
    [{ stdin: 5 }, /^stdin: 5 is not text or bytes .* a stream or a generator/],
    [{ stdin: {} }, /^stdin: \{\} is not/],
    [{ pty: { cols: 0, rows: 0 } }, /^pty: \{ cols: 0, rows: 0 \} is not .* from 1 to 65535/],
    [{ pty: { cols: 70_000, rows: 24 } }, /^pty: \{ cols: 70000, rows: 24 \} is not/],
    [{ pty: { columns: 80 } }, /^pty: \{ columns: 80 \} is not/],
    [{ pty: 'yes' }, /^pty: "yes" is not true or false/],
    [{ capture: 'all' }, /^capture: "all" is not one of split, merged/],
    [{ waitFor: 'end' }, /^waitFor: "end" is not one of exit, eof, tree$/],
    [{ encoding: 'klingon' }, /^encoding: "klingon" is not an encoding: try utf-8/],
    [{ reject: 0 }, /^reject: 0 is not true or false$/],
    [{ sha256: 'yes' }, /^sha256: "yes" is not true or false$/],
    [{ giveUpAfter: -1 }, /^giveUpAfter: -1 is not a number of milliseconds/],
    [{ keep: '1 day' }, /^keep: "1 day" is not a number of milliseconds .* or text such as "500ms", "30s"/],
    [{ cwd: 5 }, /^cwd: 5 is not text or bytes/],
    [{ env: 5 }, /^env: 5 is not an array/],
    [{ env: { A: 5 } }, /^env: \{ A: 5 \} is not/],
    [{ env: ['secret'] }, /^env: an entry of 6 bytes is not NAME=VALUE/],
    [{ runAs: null }, /^runAs: null is not text/],
    [{ runId: 'nightly' }, /^runId: "nightly" is not a run id$/],
    [{ idempotant: true }, /^there is no run option "idempotant"$/],
    [5, /^run options: 5 is not an object$/],
  ])('%j', (options, message) => {
    const start = (): unknown => host.run(['true'], options as object);
    expect(start).toThrow(UsageError);
    expect(start).toThrow(message);
    expect(() => host.sh('true', options as object)).toThrow(message);
  });

  test('errors show neither functions nor the contents of objects', () => {
    const secret = { key: 'hunter2' };
    expect(() => host.run(['true'], { env: secret, name: secret } as object)).toThrow(/^name: \{ key \} is not/);
    expect(() => host.run(['true'], { name: () => 'hunter2' } as object)).toThrow(/^name: a function is not/);
  });

  test('of attach, lines, kill, cancel, resize and runs', async () => {
    const run = host.run(['sleep', '60'], { reject: false });
    const { runId } = run;
    await run.started;
    expect(() => host.attach(runId, { mode: 'watch' } as object)).toThrow(
      /^mode: "watch" is not one of observe, control/,
    );
    expect(() => host.attach(runId, { from: -1 })).toThrow(/^from: -1 is not/);
    expect(() => host.attach(runId, { from: { tail: Number.NaN } })).toThrow(/^from: /);
    expect(() => host.attach(runId, { cwd: '/' } as object)).toThrow(/^there is no attach option "cwd"$/);
    expect(() => host.attach('nightly')).toThrow(/"nightly" is not a run id/);
    await expect(run.lines({ from: 'out' } as object).next()).rejects.toThrow(/^from: "out" is not one of/);
    await expect(run.kill('TERM', { scope: 'all' } as object)).rejects.toThrow(/^scope: "all" is not one of/);
    await expect(run.cancel({ reason: 5 } as object)).rejects.toThrow(/^reason: 5 is not text/);
    await expect(run.resize(0, 24)).rejects.toThrow(/^cols: 0 is not a whole number of columns from 1 to 65535/);
    await expect(host.runs({ all: 1 } as object).next()).rejects.toThrow(/^all: 1 is not true or false/);
    await run.cancel({ grace: 0 });
    expect((await run).outcome).toBe('cancelled');
  });

  test('of connect and fleet', async () => {
    const { home } = own;
    await expect(connect('local', { home, timeout: Number.NaN })).rejects.toThrow(/^timeout: NaN is not/);
    await expect(connect('local', { home: '/tmp' } as object)).rejects.toThrow(
      /^home: "\/tmp" is not what resolveHome/,
    );
    await expect(connect(5 as never, { home })).rejects.toThrow(/^the host to connect to: 5 is not a name, an address, or/);
    expect(() => fleet('local', { home, signal: 5 } as object)).toThrow(/^signal: 5 is not an AbortSignal/);
    const all = fleet('local', { home });
    for (const [options, message] of [
      [{ window: 0 }, /^window: 0 is not a whole number of hosts from 1/],
      [{ batch: '5' }, /^batch: "5" is not .* a share such as 25%/],
      [{ maxFail: Number.NaN }, /^maxFail: NaN is not/],
      [{ pause: -1 }, /^pause: -1 is not a number of milliseconds/],
      [{ order: 'sorted' }, /^order: "sorted" is not one of listed, random/],
      [{ maxBuffer: Number.NaN }, /^maxBuffer: NaN is not/],
      [{ pty: true }, /^there is no fleet run option "pty"/],
    ] as const)
      expect(() => all.run(['true'], options as object)).toThrow(message);
  });
});

describe('optional and large values', () => {
  test('a size without columns or rows is that of a terminal', async () => {
    const { stdout } = await host.run(['stty', 'size'], { pty: { cols: undefined, rows: undefined } });
    expect(stdout).toBe('24 80\r\n');
    expect((await host.run(['stty', 'size'], { pty: { cols: 65_535, rows: 1 } })).stdout).toBe('1 65535\r\n');
  });

  test('maxBuffer may be infinite, and an undefined option counts as absent', async () => {
    expect((await host.run(['echo', 'x'], { maxBuffer: Infinity, name: undefined } as object)).stdout).toBe('x\n');
  });
});

describe('128 KiB', () => {
  const count = ['sh', '-c', 'echo ${#1}', 'sh'];

  test('are one byte too many for a word, and the limit is named', async () => {
    expect((await host.run([...count, 'a'.repeat(WORD)])).stdout).toBe(`${WORD}\n`);
    const { refusal, reason } = await host.run([...count, 'a'.repeat(WORD + 1)], { reject: false });
    expect([refusal, reason]).toEqual([
      'limits',
      expect.stringMatching(/^argument 4 is 131072 bytes .*131071.*MAX_ARG_STRLEN/),
    ]);
  });

  test('are too many for a variable, which is named without its value', async () => {
    const { refusal, reason } = await host.run(['true'], { env: { LONG: 'a'.repeat(WORD) }, reject: false });
    expect([refusal, reason]).toEqual(['limits', expect.stringMatching(/^the variable "LONG" is .*MAX_ARG_STRLEN/)]);
    expect(reason.length).toBeLessThan(200);
  });

  test.each([WORD - 100, WORD + 1, 3 * WORD, 7 * WORD])('of shell text (%i bytes) run as it is', async (length) => {
    const tail = '\nread -r line; echo "$# $0 $line"; exit 7';
    const script = `x='${'é'.repeat(Math.floor((length - tail.length) / 2))}'; echo \${#x} "$@"${tail}`;
    const { stdout, code } = await host.sh(script, { stdin: 'typed\n', reject: false });
    const [size, rest] = stdout.trimEnd().split('\n');
    expect(Number(size)).toBeGreaterThan(length / 2 - 100);
    expect([rest, code]).toEqual(['0 sh typed', 7]);
  });

  test('of shell text that is no UTF-8 run too', async () => {
    const script = Buffer.concat([Buffer.from(": '"), Buffer.alloc(2 * WORD, 0x80), Buffer.from("'; echo done")]);
    expect((await host.sh(script)).stdout).toBe('done\n');
  });

  test('are below the total that sendall sends; above it, the error names sendall’s own limit', () => {
    const words = Array.from({ length: 11_000 }, () => 'a'.repeat(100));
    expect(() => host.run(['echo', ...words])).toThrow(
      /bytes together, and sendall sends at most \d+: pass the data on stdin/,
    );
  });
});

test.each([
  ['that is missing', '/no/such/folder', /"\/no\/such\/folder" does not exist$/],
  ['that is a file', '/etc/passwd', /"\/etc\/passwd" is not a folder$/],
  ['below a file', '/etc/passwd/x', /is not a folder$/],
  ['with a part that is too long', `/tmp/${'x'.repeat(300)}`, /longer name than the system takes/],
  ['that is too long', `/${'long/'.repeat(1000)}`, /longer name than the system takes/],
])('a working folder %s is refused as such', async (_what, cwd, message) => {
  const { refusal, reason } = await host.run(['true'], { cwd, reject: false });
  expect([refusal, reason]).toEqual(['nocwd', expect.stringMatching(message)]);
  expect(reason.length).toBeLessThan(400);
});

test("an AbortSignal's reason is the error's cause, before the start and after it", async () => {
  const why = new Error('the user pressed stop');
  const caught = async (signal: AbortSignal): Promise<RunError> => {
    const error: unknown = await host.run(['sleep', '60'], { signal }).catch((thrown: unknown) => thrown);
    if (!(error instanceof RunError)) throw new Error('it was not refused');
    return error;
  };
  const before = await caught(AbortSignal.abort(why));
  expect([before.result.outcome, before.cause]).toEqual(['cancelled', why]);
  const controller = new AbortController();
  const run = host.run(['sleep', '60'], { signal: controller.signal });
  await run.started;
  controller.abort(why);
  await expect(run).rejects.toMatchObject({ code: 'CANCELLED', cause: why });
});

import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { PassThrough, Readable, Writable } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect, RunError, UsageError, type Host, type LineOptions, type Result } from 'sendall';
import { patience } from '../../../../test/support/waits.js';
import { ownAgent, type OwnAgent } from './own-agent.js';

let own: OwnAgent;
let host: Host;
let folder: string;
beforeAll(async () => {
  own = await ownAgent();
  host = own.host;
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'sendall-run-')));
});
afterAll(async () => {
  await own[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

const failure = async (run: PromiseLike<Result>): Promise<RunError> => {
  try {
    await run;
  } catch (error) {
    if (error instanceof RunError) return error;
    throw error;
  }
  throw new Error('the run was ok');
};

describe('a result', () => {
  test('has code, streams apart, and byte counts', async () => {
    const result = await host.sh('echo out; echo err >&2');
    expect(result).toMatchObject({ ok: true, outcome: 'ok', code: 0, stdout: 'out\n', stderr: 'err\n' });
    expect(result.finals).toEqual({ stdout: 4, stderr: 4 });
    expect(result.specHash).toMatch(/^[0-9a-f]{64}$/);
    expect(result.timing.durationMs).toBeGreaterThanOrEqual(0);
  });

  test('of a failed command rejects with the result inside', async () => {
    const error = await failure(host.sh('echo why >&2; exit 7'));
    expect(error.result).toMatchObject({ ok: false, outcome: 'failed', code: 7, stderr: 'why\n' });
    expect(error.message).toMatch(/code 7 \(local: sh\)\nwhy$/);
  });

  test('resolves with reject: false and with nothrow()', async () => {
    expect((await host.run(['false'], { reject: false })).code).toBe(1);
    expect((await host.run(['false']).nothrow()).outcome).toBe('failed');
  });

  test.each(['SIGKILL', 'SIGTERM', 'SIGSEGV'])(
    'of a command killed by %s says so and has no code',
    async (signal) => {
      const { result } = await failure(host.sh(`kill -${signal.slice(3)} $$`));
      expect(result).toMatchObject({ outcome: 'signalled', signal });
      expect(result.code).toBeUndefined();
    },
  );

  test.each([
    ['nofile', ['no-such-program'], {}],
    ['nofile', ['/no/such/program'], {}],
    ['notexec', ['/etc/passwd'], {}],
    ['nocwd', ['true'], { cwd: '/no/such/folder' }],
  ])('of a command that cannot start is refused as %s', async (refusal, argv, options) => {
    const { result } = await failure(host.run(argv, options));
    expect(result).toMatchObject({ outcome: 'refused', refusal });
  });

  test('carries checksums on request', async () => {
    const { sha256, stdout } = await host.run(['seq', '1000'], { sha256: true });
    expect(sha256.stdout).toBe(createHash('sha256').update(stdout).digest('hex'));
  });
});

describe('words', () => {
  const words = ['', ' ', 'a b', '"', "'", '$HOME', '`id`', '*', '-n', '--', '\n', '\\', '粘包', 'a\tb', '%s'];

  test('arrive exactly as given', async () => {
    const { stdout } = await host.run(['printf', '%s\\0', ...words]);
    expect(stdout.split('\0').slice(0, -1)).toEqual(words);
  });

  test('that are not UTF-8 arrive unchanged', async () => {
    const raw = Buffer.from([0x66, 0xff, 0xfe, 0x80, 0x0a]);
    expect((await host.run(['printf', '%s', raw])).raw.stdout).toEqual(raw);
  });

  test('of a template are never re-read, and arrays are several words', async () => {
    const odd = 'x; rm -rf "/nowhere" $(id)';
    expect((await host.$`printf ${'%s|'} a=${odd} ${['p q', 'r']}z ${7}`).stdout).toBe(`a=${odd}|p q|rz|7|`);
  });

  test('of a megabyte are refused with the reason and the way out', () => {
    expect(() => host.run(['echo', 'x'.repeat(1024 * 1024)])).toThrow(/pass the data on stdin/);
  });

  test('with a NUL are refused before anything is sent', () => {
    expect(() => host.run(['echo', 'a\0b'])).toThrow(UsageError);
  });
});

describe('surroundings', () => {
  test('the environment is rebuilt, with the given additions', async () => {
    process.env.SENDALL_TEST_LEAK = 'leaked';
    const { stdout } = await host.run(['env'], { env: { ADDED: 'x=y z', GONE: undefined } });
    const lines = stdout.split('\n');
    expect(lines).toContain('ADDED=x=y z');
    expect(lines).toContain(`USER=${userInfo().username}`);
    expect(lines.some((line) => /^(PATH|HOME|SHELL|LOGNAME|LANG)=/.test(line))).toBe(true);
    expect(stdout).not.toMatch(/leaked|NODE_|npm_|VITEST|GONE/);
  });

  test('cwd may have any name, also one that is not UTF-8', async () => {
    const odd = Buffer.concat([Buffer.from(`${folder}/`), Buffer.from([0xe7, 0x2d, 0xff])]);
    mkdirSync(odd);
    expect((await host.run(['pwd'], { cwd: odd })).raw.stdout).toEqual(Buffer.concat([odd, Buffer.from('\n')]));
  });

  test('a relative cwd starts at the current folder on local, and at the user’s home elsewhere', async () => {
    expect((await host.run(['pwd'], { cwd: '..' })).stdout).toBe(`${dirname(process.cwd())}\n`);
    await using other = await connect(own.agent.listening[0]!, { home: own.home });
    expect((await other.run(['pwd'], { cwd: '.' })).stdout).toBe(`${userInfo().homedir}\n`);
    expect(() => host.run(['pwd'], { cwd: '' })).toThrow(UsageError);
  });

  test('/dev/stdout and /dev/stderr work, for they are real pipes', async () => {
    const { stdout, stderr } = await host.sh('echo hi > /dev/stdout; echo no > /dev/stderr');
    expect({ stdout, stderr }).toEqual({ stdout: 'hi\n', stderr: 'no\n' });
  });

  test('the default file limit and SIGPIPE are restored', async () => {
    expect(Number((await host.sh('ulimit -Sn')).stdout)).toBeLessThanOrEqual(1024);
    expect((await host.sh('(yes; echo $? >&2) | head -1 > /dev/null')).stderr).toBe('141\n');
  });
});

describe('stdin', () => {
  test('without an end is closed when the command stops reading', async () => {
    let closed = false;
    async function* endless(): AsyncGenerator<string> {
      try {
        for (;;) yield 'line\n';
      } finally {
        closed = true;
      }
    }
    expect((await host.run(['head', '-1'], { stdin: endless() })).stdout).toBe('line\n');
    await expect.poll(() => closed).toBe(true);
  });

  test('is empty unless given', async () => {
    expect((await host.run(['cat'])).stdout).toBe('');
  });

  const data = randomBytes(3_000_000);
  test.each([
    ['text', () => 'hé\n', Buffer.from('hé\n')],
    ['bytes', () => data, data],
    ['a Readable', () => Readable.from([data.subarray(0, 1_000_001), data.subarray(1_000_001)]), data],
    ['a Web stream', () => new Blob([data]).stream(), data],
  ])('of %s arrives whole, and its end too', async (_, make, expected) => {
    const result = await host.run(['cat'], { stdin: make() as Readable });
    expect(result.raw.stdout.equals(expected)).toBe(true);
  });

  test('can be half-closed while output goes on', async () => {
    const run = host.sh('cat; echo after', { stdin: 'pipe' });
    run.stdin.end('before ');
    expect((await run).stdout).toBe('before after\n');
  });

  test('that the command does not read does not hang the run', async () => {
    const result = await host.run(['true'], { stdin: Readable.from([randomBytes(5_000_000)]) });
    expect(result.ok).toBe(true);
  });

  test('whose source fails cancels the run instead of ending it early', async () => {
    async function* broken() {
      yield Buffer.from('half');
      throw new Error('disk on fire');
    }
    const { result } = await failure(host.run(['cat'], { stdin: broken() }));
    expect(result.outcome).toBe('cancelled');
    expect(result.reason).toMatch(/disk on fire/);
  });
});

describe('output', () => {
  test('lines arrive as they are written, before the command ends', async () => {
    const run = host.sh('echo one; read _; echo two', { stdin: 'pipe' });
    const seen: string[] = [];
    for await (const line of run) {
      seen.push(line);
      if (line === 'one') run.stdin.end('go\n');
    }
    expect(seen).toEqual(['one', 'two']);
  });

  test('iteration rejects at the end when the command failed', async () => {
    const seen: string[] = [];
    await expect(async () => {
      for await (const line of host.sh('echo one; exit 3')) seen.push(line);
    }).rejects.toThrow(/code 3/);
    expect(seen).toEqual(['one']);
  });

  test('text, bytes, json and ndjson', async () => {
    expect(await host.run(['echo', 'x']).text()).toBe('x');
    expect(await host.run(['echo', 'x']).bytes()).toEqual(Buffer.from('x\n'));
    expect(await host.run(['echo', '{"a":[1]}']).json()).toEqual({ a: [1] });
    const values: unknown[] = [];
    for await (const value of host.sh('echo 1; echo; echo \'{"b":2}\'').ndjson()) values.push(value);
    expect(values).toEqual([1, { b: 2 }]);
  });

  test('stderr lines, and both streams', async () => {
    const lines: string[] = [];
    for await (const line of host.sh('echo e >&2').lines({ from: 'stderr' })) lines.push(line);
    for await (const line of host.sh('echo o; echo e >&2').lines({ from: 'both' })) lines.push(line);
    expect(lines.sort()).toEqual(['e', 'e', 'o']);
  });

  test('20 MiB of random bytes have the same checksum', async () => {
    const hash = createHash('sha256');
    const run = host.sh('head -c 20971520 /dev/urandom | tee /dev/fd/3 3>&1 >/dev/null | cat', { sha256: true });
    for await (const chunk of run.stdout) hash.update(chunk as Buffer);
    const result = await run;
    expect(result.finals.stdout).toBe(20_971_520);
    expect(result.sha256.stdout).toBe(hash.digest('hex'));
  });

  test('decodes GBK cut between the bytes of a character', async () => {
    const result = await host.sh("printf '\\326'; sleep 0.05; printf '\\264\\320\\320\\263\\311\\271\\246'", {
      encoding: 'gbk',
    });
    expect(result.stdout).toBe('执行成功');
  });

  test('above maxBuffer is truncated, never ok', async () => {
    const { result } = await failure(host.run(['seq', '1000000'], { maxBuffer: 1000 }));
    expect(result).toMatchObject({ ok: false, outcome: 'truncated' });
  });

  test.each([
    ['in one piece', "printf '%0100d' 7", 51, '0'.repeat(51)],
    ['in pieces', 'printf 123; sleep 0.1; printf 456; sleep 0.1; printf 789', 5, '12345'],
    ['but for a character that was cut', 'printf éééééééé', 9, 'éééé'],
    ['of exactly so much', 'printf éé', 4, 'éé'],
    ['of nothing', 'printf x', 0, ''],
  ])('above maxBuffer the beginning is kept, %s', async (_, script, maxBuffer, kept) => {
    const result = await host.sh(script, { maxBuffer, reject: false });
    const cut = maxBuffer !== 4;
    expect([result.outcome, result.stdout]).toEqual([cut ? 'truncated' : 'ok', kept]);
    expect(result.raw.stdout).toHaveLength(maxBuffer);
  });

  test('a stream opened after maxBuffer was exceeded yields the kept bytes, then an error', async () => {
    const run = host.sh('printf 123456; exec sleep 60', { maxBuffer: 4, reject: false });
    expect((await run).outcome).toBe('truncated');
    const pieces: string[] = [];
    const reading = async () => {
      for await (const chunk of run.stdout) pieces.push(String(chunk));
    };
    await expect(reading()).rejects.toMatchObject({ code: 'TRUNCATED' });
    expect(pieces.join('')).toBe('1234');
  });

  test('merged capture has one stream', async () => {
    const result = await host.sh('echo a; echo b >&2; echo c', { capture: 'merged' });
    expect(result.stdout).toBe('a\nb\nc\n');
  });

  test.each([
    ['exact', 'read'],
    ['ordered', 'written'],
  ] as const)(
    '%s capture has one record and one event for each write, and says what their order is',
    async (capture, order) => {
      const script = "printf a; printf 'b\\303'; printf '\\251'; printf c";
      const run = host.sh(script, { capture });
      const records: [string, number, string, string][] = [];
      for await (const record of run.records())
        records.push([record.stream, record.offset, record.bytes.toString('latin1'), record.order]);
      expect(records).toEqual([
        ['stdout', 0, 'a', order],
        ['stdout', 1, 'b\xc3', order],
        ['stdout', 3, '\xa9', order],
        ['stdout', 4, 'c', order],
      ]);
      expect((await run).stdout).toBe('abéc');
      const events: unknown[] = [];
      for await (const event of host.sh(script, { capture }).events())
        if (event.event === 'output') events.push([event.bytes.toString('latin1'), event.order]);
      expect(events).toEqual(records.map(([, , bytes]) => [bytes, order]));
    },
  );

  test('that is no longer iterated ends the command by SIGPIPE', async () => {
    const run = host.run(['yes'], { reject: false });
    for await (const line of run.lines()) {
      expect(line).toBe('y');
      break;
    }
    expect((await run).signal).toBe('SIGPIPE');
  });

  test('of a run can be piped into another, byte for byte', async () => {
    const data = randomBytes(2_000_000);
    const source = host.run(['cat'], { stdin: data });
    const sink = source.pipe(host.run(['sha256sum']));
    expect((await sink).stdout.slice(0, 64)).toBe(createHash('sha256').update(data).digest('hex'));
    expect((await source).ok).toBe(true);
  });

  test('that another run does not read to its end gets SIGPIPE, as in a shell', async () => {
    const source = host.run(['yes'], { reject: false });
    const sink = source.pipe(host.run(['head', '-1']));
    expect((await sink).stdout).toBe('y\n');
    expect((await source).signal).toBe('SIGPIPE');
  });

  test('that is piped into a command that does not exist gets SIGPIPE too', async () => {
    const source = host.run(['yes'], { reject: false });
    expect((await failure(source.pipe(host.run(['no-such-command'])))).result.refusal).toBe('nofile');
    expect((await source).signal).toBe('SIGPIPE');
  });

  test('of several runs goes into one, whose input ends when all have ended', async () => {
    const sink = host.run(['sort', '-u']);
    const sources = ['echo quick', 'sleep 0.3; echo slow', 'seq 20000', 'true'].map((script) => host.sh(script));
    for (const source of sources) source.pipe(sink);
    const lines = (await sink).stdout.split('\n').filter(Boolean);
    expect(lines).toHaveLength(20_002);
    expect(lines).toEqual(expect.arrayContaining(['quick', 'slow', '20000']));
    for (const source of sources) expect((await source).outcome).toBe('ok');
  });

  test('of several runs goes into one stream likewise', async () => {
    const sink = new PassThrough();
    const late = host.sh('read _; echo late', { stdin: 'pipe' });
    late.pipe(sink);
    const early = host.sh('echo early');
    early.pipe(sink);
    await early;
    late.stdin.end('now\n');
    expect(await text(sink)).toBe('early\nlate\n');
  });

  test('of several runs is incomplete when one of them fails to start: the run they go into is cancelled', async () => {
    const sink = host.run(['cat'], { reject: false });
    host.sh('echo fine').pipe(sink);
    host.run(['no-such-command'], { reject: false }).pipe(sink);
    expect((await sink).outcome).toBe('cancelled');
  });

  test('cannot be piped into a run that already has its stdin', () => {
    const sink = host.run(['cat'], { stdin: 'given', reject: false });
    expect(() => host.run(['true']).pipe(sink)).toThrow(/was given its stdin already/);
  });

  test('cancels the run it is piped into when some of it is missing', async () => {
    const sink = host.run(['no-such-command']).pipe(host.run(['cat']));
    const { result } = await failure(sink);
    expect(result.outcome).toBe('cancelled');
    expect(result.reason).toContain('"no-such-command" is not there');
  });

  test('started without stdin, it cannot be written or piped to afterwards, and says so', async () => {
    const late = host.run(['cat']);
    await late.started;
    expect(() => host.run(['true']).pipe(late)).toThrow(/started without stdin/);
    expect(() => late.stdin).toThrow(/started without stdin/);
  });

  test('written to at once, it has a stdin', async () => {
    const run = host.run(['cat']);
    run.stdin.end('here');
    expect((await run).stdout).toBe('here');
  });

  test('lines keep a byte order mark, as text does', async () => {
    const lines: string[] = [];
    for await (const line of host.run(['printf', '\\357\\273\\277a\\n\\357\\273\\277b']).lines()) lines.push(line);
    expect(lines).toEqual(['\ufeffa', '\ufeffb']);
  });

  test('lines are cut by any delimiter', async () => {
    const cut = async (options: LineOptions) => {
      const lines: string[] = [];
      for await (const line of host.run(['printf', 'a\\0b\nc\\0d']).lines(options)) lines.push(line);
      return lines;
    };
    expect(await cut({ delimiter: '\0' })).toEqual(['a', 'b\nc', 'd']);
    expect(await cut({ delimiter: Buffer.from('\n'), keepEnds: true })).toEqual(['a\0b\n', 'c\0d']);
    await expect(cut({ delimiter: '' })).rejects.toThrow(/delimiter is empty/);
    await expect(cut({ delimiter: '\0', maxLine: 2 })).rejects.toThrow(/limit of 2/);
  });

  test('piped into a stream that ends early ends the command by SIGPIPE', async () => {
    const sink = new Writable({ write: (_chunk, _encoding, done) => done() });
    const run = host.run(['yes'], { reject: false });
    run.pipe(sink);
    await run.started;
    sink.destroy();
    expect((await run).signal).toBe('SIGPIPE');
  });

  test('Web streams both ways', async () => {
    const { stdin, stdout } = host.run(['cat'], { stdin: 'pipe' }).web();
    const writer = stdin.getWriter();
    await writer.write(Buffer.from('web'));
    await writer.close();
    expect(await text(stdout)).toBe('web');
  });
});

describe('ends', () => {
  test('a background child that keeps stdout open does not hang the run', async () => {
    const { stdout } = await host.sh('sleep 30 & echo started $!');
    expect(stdout).toMatch(/^started \d+\n$/);
    await host.run(['kill', stdout.trim().split(' ')[1]!], { reject: false });
  });

  test('waitFor eof waits for the background child too', async () => {
    const result = await host.sh('(sleep 0.3; echo late) & echo early', { waitFor: 'eof' });
    expect(result.stdout).toBe('early\nlate\n');
  });

  test('waitFor tree waits until the last process is gone', async () => {
    const mark = join(folder, 'tree-ended');
    await host.run(['sh', '-c', `(setsid sh -c 'sleep 0.3; : > "$0"' "${mark}" >/dev/null 2>&1 &)`], {
      waitFor: 'tree',
    });
    await expect(host.run(['test', '-e', mark])).resolves.toMatchObject({ ok: true });
  });

  test('a timeout is kept by the host', async () => {
    const { result } = await failure(host.run(['sleep', '60'], { timeout: 100 }));
    expect(result.outcome).toBe('timeout');
  });

  test('an idle timeout counts silence only', async () => {
    // Long enough for a command that a busy machine lets wait.
    const idleTimeout = patience(3000);
    const talking = `import time\nfor i in range(70): print(i, flush=True); time.sleep(${idleTimeout / 60_000})`;
    const talks = host.run(['python3', '-c', talking], { idleTimeout });
    const { result } = await failure(host.sh('echo said; sleep 60', { idleTimeout: 100 }));
    expect(result.outcome).toBe('idle');
    expect((await talks).stdout).toMatch(/\n69\n$/);
  });

  test('an abort signal cancels on the host', async () => {
    const controller = new AbortController();
    const run = host.run(['sleep', '60'], { signal: controller.signal });
    const { pid } = await run.started;
    controller.abort();
    expect((await failure(run)).result.outcome).toBe('cancelled');
    await expect(host.run(['test', '-d', `/proc/${pid}`], { reject: false })).resolves.toMatchObject({ code: 1 });
  });

  test('one abort signal is enough for any number of runs', async () => {
    const warnings: Error[] = [];
    const note = (warning: Error) => void warnings.push(warning);
    process.on('warning', note);
    const controller = new AbortController();
    const runs = Array.from({ length: 20 }, () =>
      host.run(['sleep', '60'], { signal: controller.signal, reject: false }),
    );
    await Promise.all(runs.map((run) => run.started));
    controller.abort();
    for (const run of runs) expect((await run).outcome).toBe('cancelled');
    process.off('warning', note);
    expect(warnings).toEqual([]);
  });

  test('an abort before the start leaves nothing running', async () => {
    const { result } = await failure(host.run(['sleep', '60'], { signal: AbortSignal.abort() }));
    expect(result.outcome).toBe('cancelled');
  });

  test('kill sends the signal asked for', async () => {
    const run = host.sh('trap "echo caught; exit 5" USR1; echo ready; while :; do sleep 0.05; done');
    for await (const event of run.events()) {
      if (event.event === 'output' && event.bytes.includes('ready')) await run.kill('USR1');
      if (event.event === 'result') expect(event.result.code).toBe(5);
    }
  });

  test('kill of the tree reaches children hidden by setsid, and states its certainty', async () => {
    const run = host.sh('setsid sleep 61 & echo $!; wait', { reject: false });
    const stdout = run.lines();
    const hidden = (await stdout.next()).value as string;
    const report = await run.kill('SIGTERM', { scope: 'tree', grace: 200 });
    expect(report.result).toBe('done');
    expect(report.survivors).toEqual([]);
    expect(['cgroup', 'unproven']).toContain(report.proof);
    expect((await run).outcome).toBe('cancelled');
    await expect(host.run(['kill', '-0', hidden], { reject: false })).resolves.toMatchObject({ ok: false });
  });
});

describe('runs are objects', () => {
  test('the same id and words attach instead of starting again', async () => {
    const mark = join(folder, 'once');
    writeFileSync(mark, '');
    const first = host.sh(`echo x >> ${mark}; cat ${mark}`);
    const one = await first;
    const again = await host.sh(`echo x >> ${mark}; cat ${mark}`, { runId: first.runId });
    expect(again.stdout).toBe(one.stdout);
    expect((await host.run(['cat', mark])).stdout).toBe('x\n');
  });

  test('followEcho reports how its terminal treats typed keys; it must be requested immediately', async () => {
    const run = host.sh('stty -echo; echo ready; read a; stty echo', { pty: true, stdin: 'pipe' });
    const told: unknown[] = [];
    let hidden!: () => void;
    const isHidden = new Promise<void>((resolve) => (hidden = resolve));
    run.followEcho((bits) => {
      told.push(bits);
      if (bits?.echo === false) hidden();
    });
    await isHidden;
    run.stdin.write('secret\n');
    expect((await run).stdout).not.toContain('secret');
    expect(told).toContainEqual({ canonical: true, echo: false });
    expect(() => run.followEcho(() => undefined)).toThrow(UsageError);
  });

  test('the same id with other words is a conflict', async () => {
    const first = host.run(['true']);
    await first;
    expect((await failure(host.run(['false'], { runId: first.runId }))).result.outcome).toBe('conflict');
  });

  test('a detached run goes on, is listed, and can be attached to from its first byte', async () => {
    const run = host.sh('echo begun; read _; echo done', { stdin: 'pipe', name: 'left alone' });
    expect((await run.lines().next()).value).toBe('begun');
    const { runId } = await run.detach();
    const listed = [];
    for await (const each of host.runs()) listed.push(each);
    expect(listed.find((each) => each.runId === runId)).toMatchObject({ name: 'left alone', state: 'running' });
    const back = host.attach(runId);
    back.stdin.end('\n');
    expect((await back).stdout).toBe('begun\ndone\n');
  });

  test('an observer of more than maxBuffer gets an error, and ends nothing', async () => {
    const run = host.sh('seq 1000; read _; exit 3', { stdin: 'pipe' });
    await run.started;
    const { result } = await failure(host.attach(run.runId, { mode: 'observe', maxBuffer: 1000 }));
    expect(result.outcome).toBe('truncated');
    run.stdin.end('\n');
    expect((await run.nothrow()).code).toBe(3);
  });

  test('attach may begin at an offset, at the tail, or at the end', async () => {
    const run = host.run(['printf', '0123456789']);
    await run;
    expect((await host.attach(run.runId, { from: 4 })).stdout).toBe('456789');
    expect((await host.attach(run.runId, { from: { tail: 3 } })).stdout).toBe('789');
    expect((await host.attach(run.runId, { from: 'end' })).stdout).toBe('');
  });

  test('an id unknown to the host is lost, with a sentence', async () => {
    const { result } = await failure(host.attach('0192f0c1-7d3a-7cc1-98ab-001122334455'));
    expect(result.outcome).toBe('lost');
    expect(result.reason).toMatch(/no such run/);
  });

  test('forget removes a finished run', async () => {
    const run = host.run(['true']);
    await run;
    await host.forget(run.runId);
    const ids = [];
    for await (const each of host.runs({ all: true })) ids.push(each.runId);
    expect(ids).not.toContain(run.runId);
  });
});

test.each([
  { startWithin: Infinity },
  { startWithin: Number.NaN },
  { timeout: -1 },
  { killGrace: Number.NaN },
  { onDisconnect: { termAfter: Number.NaN } },
  { spoolMax: 1.5 },
  { maxOutput: -1 },
  { pty: { cols: 80.5, rows: 24 } },
])('%j is refused before it is sent', (options) => {
  expect(() => host.run(['true'], options)).toThrow(UsageError);
});

test('times need not be whole', async () => {
  const run = host.run(['sleep', '100'], { startWithin: 10_000.5, reject: false });
  await run.started;
  await expect(run.kill('TERM', { scope: 'tree', grace: Number.NaN })).rejects.toThrow(UsageError);
  await expect(run.resize(Number.NaN, 24)).rejects.toThrow(UsageError);
  expect(await run.cancel({ grace: 0.5, reason: 'r'.repeat(2 * 1024 * 1024) })).toMatchObject({ result: 'done' });
  expect((await run).outcome).toBe('cancelled');
});

test('unknown options are refused by name', () => {
  expect(() => host.run(['true'], { timeuot: 5 } as object)).toThrow(/timeuot/);
  expect(() => host.run('ls -l' as never)).toThrow(UsageError);
  expect(() => host.run(['echo', 5 as never])).toThrow(UsageError);
});

test('fifty runs at once keep their outputs apart', async () => {
  const results = await Promise.all(
    Array.from({ length: 50 }, (_, i) =>
      host.sh(`head -c 200000 /dev/zero | tr '\\0' '${String.fromCharCode(65 + (i % 26))}'`),
    ),
  );
  results.forEach(({ stdout }, i) => expect(stdout === String.fromCharCode(65 + (i % 26)).repeat(200_000)).toBe(true));
});

test('a stream that is read is complete when it ends', async () => {
  const run = host.run(['seq', '100000']);
  const expected = Array.from({ length: 100_000 }, (_, i) => `${i + 1}\n`).join('');
  expect((await buffer(run.stdout)).toString() === expected).toBe(true);
});

/** Secrets as a command gets them, what the keeper refuses, and what becomes of them when it dies. */
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Spec } from '../../dist/protocol/messages.js';
import { newRunId } from '../../dist/protocol/run-id.js';
import { until } from '../../../../test/support/waits.js';
import { rootDescribe } from '../../../../test/support/root.js';
import { bytes, KeeperClient, type Attached } from './keeper-client.js';

let keeper: KeeperClient;
let folder: string;
beforeAll(async () => {
  keeper = await KeeperClient.start();
  folder = mkdtempSync(join(tmpdir(), 'secrets-'));
});
afterAll(async () => {
  await keeper[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

type Values = Readonly<Record<string, string | Uint8Array>>;
const named = (values: Values, as = 'fd') => Object.keys(values).map((name) => ({ name, as }));
const sent = (values: Values) => Object.entries(values).map(([name, value]) => ({ name, value: Buffer.from(value) }));

/** Shell text that gets these secrets. */
const give = (values: Values, script: string, spec: Partial<Spec> = {}, as = 'fd', to = keeper): Attached =>
  to.open({ verb: 'sh', script: bytes(script), secrets: named(values, as), ...spec }, { secrets: sent(values) });

/** The descriptors of a process that lead to secrets. */
function held(pid: number): string[] {
  const fds = `/proc/${pid}/fd`;
  return readdirSync(fds).filter((fd) => {
    try {
      return readlinkSync(join(fds, fd)).includes('sendall-secret');
    } catch {
      return false;
    }
  });
}

describe('in a descriptor', () => {
  const any = randomBytes(40_000);

  test('any bytes, from the first one on, as often as it is opened again', async () => {
    const run = give({ DB: any }, 'cat <&$DB_FD; cat /dev/fd/$DB_FD; cat /dev/fd/$DB_FD');
    expect(await run.output(1)).toEqual(Buffer.concat([any, any, any]));
  });

  test('numbered from 3 in the order of their names in the command, up to 64', async () => {
    const values = Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`S${i}`, `value ${i}\n`]));
    const script = 'for i in $(seq 0 63); do eval fd=\\$S${i}_FD; echo $fd; cat /dev/fd/$fd; done';
    const wanted = Array.from({ length: 64 }, (_, i) => `${i + 3}\nvalue ${i}\n`).join('');
    expect(await give(values, script).text()).toBe(wanted);
  });

  test('empty', async () => {
    expect(await give({ NONE: '' }, 'wc -c < /dev/fd/$NONE_FD').text()).toBe('0\n');
  });

  test('sealed: the command can neither write nor cut it', async () => {
    const script = 'echo other >&$DB_FD; (: > /dev/fd/$DB_FD); truncate -s 0 /dev/fd/$DB_FD; cat /dev/fd/$DB_FD';
    expect(await give({ DB: 'first' }, script).text()).toBe('first');
  });

  test('its programs get it too, and nothing else is open', async () => {
    expect(await give({ DB: 'x' }, 'cd /proc/$$/fd; set -- *; echo "$*"').text()).toBe('0 1 2 3 4\n');
    expect(await give({ DB: 'x' }, 'sh -c \'sh -c "cat <&$DB_FD"\'').text()).toBe('x');
  });

  test.each(['split', 'merged', 'exact', 'ordered'])('with capture %s', async (capture) => {
    const run = give({ DB: 'given' }, 'test "$(cat <&$DB_FD)" = given', { capture });
    expect(await run.exit).toMatchObject({ code: 0 });
  });

  test('on a terminal', async () => {
    const run = give({ DB: 'given' }, 'test -t 0 && test "$(cat <&$DB_FD)" = given', { pty: { cols: 80, rows: 24 } });
    expect(await run.exit).toMatchObject({ code: 0 });
  });

  test('of a script without "#!"', async () => {
    const path = join(folder, 'plain');
    writeFileSync(path, 'cat <&$DB_FD\n');
    chmodSync(path, 0o755);
    const values = { DB: 'given' };
    const run = keeper.open({ argv: [bytes(path)], secrets: named(values) }, { secrets: sent(values) });
    expect(await run.text()).toBe('given');
  });

  test('to each its own, of many that start together; none is left in the keeper', async () => {
    const runs = Array.from({ length: 100 }, (_, i) => give({ A: `a${i}`, B: `b${i}` }, 'cat <&$B_FD; cat <&$A_FD'));
    const texts = await Promise.all(runs.map((run) => run.text()));
    expect(texts).toEqual(texts.map((_, i) => `b${i}a${i}`));
    expect(held(keeper.link.pid)).toEqual([]);
  });

  test('and a command that does not start leaves none open', async () => {
    const values = { DB: 'x' };
    const run = keeper.open({ argv: [bytes('/nowhere')], secrets: named(values) }, { secrets: sent(values) });
    expect(await run.wait('REFUSED')).toMatchObject({ code: 'nofile' });
    expect(held(keeper.link.pid)).toEqual([]);
  });
});

test('any bytes of any length arrive, in either way', async () => {
  const value = fc.oneof(fc.uint8Array({ maxLength: 20 }), fc.uint8Array({ minLength: 65_000, maxLength: 65_536 }));
  const any = fc.record({ values: fc.array(value, { minLength: 1, maxLength: 3 }), as: fc.constantFrom('fd', 'env') });
  await fc.assert(
    fc.asyncProperty(any, async ({ values, as }) => {
      const given = values.map(
        (bytes_, i) => [`S${i}`, as === 'env' ? bytes_.map((byte) => byte || 1) : bytes_] as const,
      );
      const read = given.map(([name]) => (as === 'env' ? `printf %s "$${name}"` : `cat <&$${name}_FD`)).join('; ');
      const run = give(Object.fromEntries(given), read, {}, as);
      expect(await run.output(1)).toEqual(Buffer.concat(given.map(([, bytes_]) => bytes_)));
    }),
    { numRuns: 15 },
  );
});

describe('in a variable', () => {
  test('any bytes but NUL', async () => {
    const value = Buffer.from([0xff, 0x0a, 0x3d, 0x27]);
    expect(await give({ DB: value }, 'printf %s "$DB"; echo ${DB_FD-none}', {}, 'env').output(1)).toEqual(
      Buffer.concat([value, bytes('none\n')]),
    );
  });

  test('no descriptor is opened for it', async () => {
    expect(await give({ DB: 'x' }, 'cd /proc/$$/fd; set -- *; echo "$*"', {}, 'env').text()).toBe('0 1 2 3\n');
  });
});

describe('refused', () => {
  const values = { DB: 'hunter2', TOKEN: 'hunter3' };
  const open = (secrets: Spec['secrets'], with_: Values, more: Partial<Spec> = {}): Attached =>
    keeper.open({ argv: [bytes('true')], secrets, ...more }, { secrets: sent(with_) });

  test.each([
    ['a name without its value', () => open(named(values), { DB: 'hunter2' }), 'badspec', /TOKEN has come without/],
    ['a value without its name', () => open(named({ DB: '' }), values), 'badspec', /does not name/],
    [
      'a value that comes twice',
      () =>
        keeper.open(
          { argv: [bytes('true')], secrets: named({ DB: '' }) },
          { secrets: [...sent({ DB: 'hunter2' }), ...sent({ DB: 'hunter3' })] },
        ),
      'badspec',
      /does not name/,
    ],
    ['a value for a command without secrets', () => open([], values), 'badspec', /does not name/],
    ['a name twice', () => open([...named({ DB: '' }), ...named({ DB: '' })], values), 'badspec', /DB_FD/],
    [
      'a name that is none',
      () => open(named({ 'D-B': '' }), { 'D-B': 'hunter2' }),
      'badspec',
      /secret 1 is not allowed/,
    ],
    [
      'a name of the loader’s',
      () => open(named({ LD_PRELOAD: '' }), { LD_PRELOAD: 'hunter2' }),
      'badspec',
      /LD_PRELOAD/,
    ],
    [
      'the run’s own mark',
      () => open(named({ SENDALL_RUN: '' }, 'env'), { SENDALL_RUN: 'x' }),
      'badspec',
      /SENDALL_RUN/,
    ],
    ['a third way', () => open([{ name: 'DB', as: 'file' }], { DB: 'hunter2' }), 'badspec', /fd or env only/],
    [
      'the name of a variable',
      () => open(named({ DB: '' }), { DB: 'hunter2' }, { env: [bytes('DB_FD=7')] }),
      'badspec',
      /both set the variable DB_FD/,
    ],
    ['NUL in a variable', () => open(named({ DB: '' }, 'env'), { DB: 'hun\0ter2' }), 'badspec', /NUL/],
    ['more than 64 KiB in one', () => open(named({ DB: '' }), { DB: 'x'.repeat(65_537) }), 'limits', /secretMax/],
    [
      'more than 256 KiB in all',
      () => {
        const large = Object.fromEntries(Array.from({ length: 5 }, (_, i) => [`S${i}`, 'x'.repeat(60_000)]));
        return open(named(large), large);
      },
      'limits',
      /300000 bytes together.*secretsMax/,
    ],
    [
      'more than 64',
      () => {
        const many = Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`S${i}`, 'x']));
        return open(named(many), many);
      },
      'limits',
      /maxSecrets/,
    ],
  ])('%s', async (_what, act, code, message) => {
    const refused = await act().wait('REFUSED');
    expect(refused).toMatchObject({ code, message: expect.stringMatching(message) });
    expect(refused.message).not.toMatch(/hunter/);
  });

  test('by a keeper with other limits', async () => {
    await using small = await KeeperClient.start({ limits: { maxSecrets: 1, secretMax: 4, secretsMax: 4 } });
    expect(await give({ A: '1234' }, 'cat <&$A_FD', {}, 'fd', small).text()).toBe('1234');
    expect(await give({ A: '12345' }, '', {}, 'fd', small).wait('REFUSED')).toMatchObject({ code: 'limits' });
  });

  test('what all runs of a caller have together counts with their specs', async () => {
    await using small = await KeeperClient.start({ limits: { specTotal: 100_000 } });
    const first = give({ A: 'x'.repeat(40_000) }, 'read x', { stdin: true }, 'fd', small);
    await first.wait('STARTED');
    const refused = await give({ A: 'x'.repeat(40_000) }, '', {}, 'fd', small).wait('REFUSED');
    expect(refused).toMatchObject({ code: 'busy', message: expect.stringContaining('specTotal') });
    first.send({ type: 'EOS', stream: 0, final: 0 });
  });
});

describe('without koffi', () => {
  test('a descriptor is refused with the way that works, and a variable is given', async () => {
    await using plain = await KeeperClient.start({ plain: true });
    const refused = await give({ DB: 'hunter2' }, 'true', {}, 'fd', plain).wait('REFUSED');
    expect(refused).toMatchObject({ code: 'limits', message: expect.stringMatching(/--secret-as env.*needs koffi/) });
    expect(await give({ DB: 'hunter2' }, 'echo $DB', {}, 'env', plain).text()).toBe('hunter2\n');
  });
});

describe('of a run that waits for its turn', () => {
  const journalOf = (client: KeeperClient): Buffer => readFileSync(join(client.home.state, 'journal'));

  test('stands in memory alone, and comes with its turn', async () => {
    await using small = await KeeperClient.start({ limits: { maxRunning: 1 } });
    const first = small.sh('read x', { stdin: true });
    await first.wait('STARTED');
    const waiting = give({ DB: 'hunter2-waits' }, 'cat <&$DB_FD', {}, 'fd', small);
    await waiting.wait('OPENED');
    expect(journalOf(small).includes('waits')).toBe(false);
    first.send({ type: 'EOS', stream: 0, final: 0 });
    expect(await waiting.text()).toBe('hunter2-waits');
  });

  test('is gone with its keeper: the run never starts without it', async () => {
    const small = await KeeperClient.start({ limits: { maxRunning: 1 } });
    try {
      await small.sh('sleep 100').wait('STARTED');
      const runId = newRunId();
      const proof = join(folder, 'started-without');
      const spec: Partial<Spec> = { verb: 'sh', script: bytes(`: > ${proof}`), secrets: named({ DB: '' }) };
      await small.open(spec, { runId, secrets: sent({ DB: 'hunter2' }) }).wait('OPENED');
      await small.crash({ limits: { maxRunning: 1 } });
      const known = await small.open(spec, { runId, secrets: sent({ DB: 'hunter2' }) }).wait('ATTACHED');
      expect(known).toMatchObject({
        state: 'lost',
        exit: { cause: 'lost', reason: expect.stringContaining('the keeper died') },
      });
      expect(await small.open(spec).wait('REFUSED')).toMatchObject({
        code: 'badspec',
        message: expect.stringContaining('send it again'),
      });
      expect(() => readFileSync(proof)).toThrow(/ENOENT/);
    } finally {
      await small[Symbol.asyncDispose]();
    }
  });
});

test('the same id with other names is another command; with other values it is the same one', async () => {
  const runId = newRunId();
  const open = (values: Values): Attached =>
    keeper.open(
      { verb: 'sh', script: bytes('cat <&$DB_FD'), secrets: named(values) },
      { runId, secrets: sent(values), attach: [{ stream: 1, offset: 0, limit: 100 }] },
    );
  const first = open({ DB: 'one' });
  expect(await first.text()).toBe('one');
  expect(await open({ DB: 'two' }).wait('ATTACHED')).toMatchObject({ state: 'exited' });
  expect(await open({ DB: 'one', B: 'more' }).wait('REFUSED')).toMatchObject({ code: 'conflict' });
});

rootDescribe('as another user', () => {
  const spec = { runAs: 'daemon', cwd: bytes('/') };

  test('it is that user’s, and can be read again', async () => {
    const script = 'id -un; cat <&$DB_FD; cat /dev/fd/$DB_FD; stat -L -c " %U %a" /dev/fd/$DB_FD';
    expect(await give({ DB: 'given' }, script, spec).text()).toBe('daemon\ngivengiven daemon 400\n');
    expect(await give({ DB: 'given' }, 'id -un; echo $DB', spec, 'env').text()).toBe('daemon\ngiven\n');
  });

  test('under a grant and with limits, behind setpriv and prlimit', async () => {
    const script = 'id -un; ulimit -n; cat <&$A_FD; cat /dev/fd/$B_FD; cd /proc/$$/fd; set -- *; echo " $*"';
    const values = { A: 'first ', B: 'second' };
    const limits = { files: 16, cpuMs: 60_000 };
    const run = keeper.open(
      { argv: ['sh', '-c', script].map(bytes), secrets: named(values), limits, cwd: bytes('/') },
      { secrets: sent(values), grant: { rule: 'one', policyRev: 1, program: bytes('/bin/sh'), runAs: 'daemon' } },
    );
    expect(await run.text()).toBe('daemon\n16\nfirst second 0 1 2 3 4 5\n');
  });

  test('under a grant, a variable has not the form of a function, which no policy could see', async () => {
    const grant = { rule: 'one', policyRev: 1, program: bytes('/usr/bin/true'), runAs: 'daemon' };
    const opened = (value: string, as: string) =>
      keeper.open({ argv: [bytes('true')], secrets: named({ DB: '' }, as) }, { secrets: sent({ DB: value }), grant });
    const refused = await opened('() { :;}; hunter2', 'env').wait('REFUSED');
    expect(refused).toMatchObject({ code: 'policy', message: expect.stringContaining('form of a function') });
    expect(refused.message).not.toContain('hunter');
    for (const [value, as] of [
      ['() { :;}', 'fd'],
      ['(', 'env'],
    ] as const)
      expect((await opened(value, as).exit).code).toBe(0);
    expect(await give({ DB: '() { :;}' }, 'echo "$DB"', {}, 'env').text()).toBe('() { :;}\n');
  });

  test('a third user reaches it neither by its process nor by its variables', async () => {
    for (const as of ['fd', 'env']) {
      const run = give({ DB: 'given' }, 'echo $$; read x', { ...spec, stdin: true }, as);
      const { pid } = await run.wait('STARTED');
      await until(() => run.next(1) > 0, 'the command to run');
      const script = `cat /proc/${pid}/fd/3 /proc/${pid}/environ`;
      const other = keeper.sh(script, { runAs: 'nobody', cwd: bytes('/') });
      expect(await other.exit).toMatchObject({ code: 1 });
      expect(await other.text(2)).toMatch(/denied/);
      expect(await other.text(1)).toBe('');
      run.send({ type: 'EOS', stream: 0, final: 0 });
      await run.exit;
    }
  });
});

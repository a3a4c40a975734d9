import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Machine, said, type User } from './support.js';

let machine: Machine;
let user: User;
beforeAll(async () => {
  machine = await Machine.start();
  user = machine.pairedUser('web1', 'web2');
});
afterAll(async () => {
  user[Symbol.dispose]();
  await machine[Symbol.asyncDispose]();
});

/** Shell commands that write these bytes one by one. */
const write = (hex: string) =>
  hex.match(/../g)!.map((byte) => `printf '\\${Number.parseInt(byte, 16).toString(8).padStart(3, '0')}'; sleep 0.01`);

describe('a command on one host', () => {
  test('its bytes arrive on stdout and stderr, untouched, and its code becomes ours', () => {
    const text = String.raw`printf 'a\377b'; printf 'e\376' >&2; exit 7`;
    const shown =
      'sendall sh web1 -c "$TEXT" > "$SENDALL_HOME/o" 2> "$SENDALL_HOME/e"; od -An -tx1 "$SENDALL_HOME"/[oe]';
    expect(user.bash(shown, { env: { TEXT: text } }).stdout.trim()).toBe('65 fe 61 ff 62');
    expect(user.call(['run', 'web1', '--', 'sh', '-c', 'exit 7']).code).toBe(7);
  });

  test('we print nothing of our own when it ends by itself, however it ends', () => {
    expect(user.call(['run', 'web1', '--', 'sh', '-c', 'exit 3'])).toEqual({ code: 3, stdout: '', stderr: '' });
    expect(user.call(['run', 'web1', '--', 'sh', '-c', 'kill -9 $$'])).toEqual({ code: 137, stdout: '', stderr: '' });
  });

  test('argv arrives exactly as given: spaces, quotes, empty words, options, and bytes that are not UTF-8', () => {
    const words = ['a b', "it's", '"q"', '', '$HOME', '*', '--json', '--', '-n', 'new\nline'];
    expect(user.call(['run', 'web1', '--', 'printf', '%s|', ...words]).stdout).toBe(`${words.join('|')}|`);
    const raw = user.bash(`sendall run web1 --env $'X=\\xff' -- sh -c 'printf %s "$1$X"' sh $'\\xfe' | od -An -tx1`);
    expect(raw.stdout.trim()).toBe('fe ff');
  });

  test('options stand before or after the target, and after "--" they are the command’s', () => {
    expect(user.call(['run', '--json', 'web1', '--', 'true']).stdout).toContain('"outcome":"ok"');
    expect(user.call(['run', 'web1', '--json', '--', 'true']).stdout).toContain('"outcome":"ok"');
    expect(user.call(['run', 'web1', '--', 'echo', '--json']).stdout).toBe('--json\n');
  });

  test('--capture exact works with a program that knows only pipes, each write is an event, and a reader may leave', () => {
    const program = ['--', process.execPath, '-e', 'console.log("out"); console.error("err")'];
    const events = user.events(['run', '--capture', 'exact', '--json', 'web1', ...program]);
    expect(events.filter(({ event }) => event === 'output')).toMatchObject([
      { stream: 'stdout', offset: 0, text: 'out\n', order: 'read' },
      { stream: 'stderr', offset: 0, text: 'err\n', order: 'read' },
    ]);
    expect(user.call(['run', '--capture', 'exact', 'web1', ...program])).toEqual({
      code: 0,
      stdout: 'out\n',
      stderr: 'err\n',
    });
    expect(user.bash('sendall run --capture exact web1 -- yes | head -1').stdout).toBe('y\n');
    const refused = user.call(['run', '--capture', 'ordered', 'web1', ...program]);
    expect([refused.code, refused.stderr]).toEqual([202, expect.stringContaining('take --capture exact')]);
  });

  test('on local it starts in the current folder, whatever its name, and a relative --cwd counts from there', () => {
    const script = [
      String.raw`cd "$(mktemp -d)"; mkdir -p sub plain $'odd\xff/in'; ln -s "$PWD/sub" link`,
      'there() { sendall run local "$@" -- pwd -P | sed "s|^$top||"; }; top=$(pwd -P)',
      String.raw`there; there --cwd sub; there --cwd link/../sub; there --cwd .; cd $'odd\xff'; there | od -An -c; there --cwd in | od -An -c`,
    ].join('\n');
    const shown = machine.user
      .bash(script)
      .stdout.split('\n')
      .map((line) => line.replaceAll(/ +/g, ' '));
    const odd = String.raw` / o d d 377`;
    expect(shown).toEqual(['', '/sub', '/sub', '', `${odd} \\n`, `${odd} / i n \\n`, '']);
  });

  test('on local a removed current folder is refused, unless another one is named', () => {
    const script = String.raw`cd "$(mktemp -d)"; rmdir "$PWD"; sendall run local -- pwd; echo $?; sendall run local --cwd . -- pwd; echo $?`;
    const ended = machine.user.bash(`${script}; sendall run local --cwd / -- pwd`);
    expect(ended.stdout).toBe('200\n200\n/\n');
    expect(ended.stderr).toMatch(/^(sendall: the present folder was removed[^\n]+\n){2}$/);
    const odd = String.raw`d=$(mktemp -d); mkdir $d/$'\xff'; cd $d/$'\xff'; rmdir $d/$'\xff'; sendall run local -- pwd; echo $?`;
    expect(machine.user.bash(odd).stdout).toBe('200\n');
  });

  test('death by any signal is 128 and its number, and JSON names it', () => {
    for (const [number, name] of [
      [6, 'SIGABRT'],
      [34, 'SIGRTMIN'],
      [35, 'SIGRTMIN+1'],
      [63, 'SIGRTMAX-1'],
    ] as const) {
      const words = ['web1', '--', 'sh', '-c', `kill -${number} $$`];
      expect(user.call(['run', ...words])).toEqual({ code: 128 + number, stdout: '', stderr: '' });
      expect(user.events(['run', '--json', ...words]).at(-1)).toMatchObject({ outcome: 'signalled', signal: name });
    }
  });

  test('sh runs shell text, also one that looks like an option', () => {
    expect(user.call(['sh', 'web1', '-c', 'echo a | tr a b'])).toMatchObject({ code: 0, stdout: 'b\n' });
    expect(user.call(['sh', 'web1', '-c', '-x']).code).not.toBe(200);
  });

  test.each([
    [['run', 'web1', '--', '/nonexistent'], 127],
    [['run', 'web1', '--', '/etc/passwd'], 126],
    [['run', 'web1', '--cwd', '/nonexistent', '--', 'true'], 202],
    [['run', 'web1', '--timeout', '100ms', '--', 'sleep', '60'], 203],
    [['run', 'tls://127.0.0.1:1', '--', 'true'], 202],
    [['run', 'local', '--', 'true'], 201],
    [['run', 'web3', '--', 'true'], 200],
    [['run', 'web1'], 200],
    [['run'], 200],
    [['run', 'web1', 'uname'], 200],
    [['run', 'web1', '--wait', 'never', '--', 'true'], 200],
    [['run', 'web1', '--timout', '1s', '--', 'true'], 200],
    [['run', 'web1', '--json=1', '--', 'true'], 200],
    [['run', '--cwd'], 200],
  ])('%j ends with %i and one sentence', (words, code) => {
    const ended = user.call(words);
    expect(ended.code).toBe(code);
    expect(ended.stdout).toBe('');
    expect(ended.stderr).toMatch(/^sendall: [^\n]+\n$/);
  });

  test('--json tells a command’s own 201 from ours', () => {
    const own = user.call(['run', 'web1', '--json', '--', 'sh', '-c', 'exit 201']);
    const ours = user.call(['run', 'local', '--json', '--', 'true']);
    expect([own.code, ours.code]).toEqual([201, 201]);
    expect(JSON.parse(own.stdout.trim().split('\n').at(-1)!)).toMatchObject({ outcome: 'failed', code: 201 });
    expect(JSON.parse(ours.stdout)).toMatchObject({
      event: 'result',
      outcome: 'unreachable',
      code: null,
      host: 'local',
    });
  });

  test('--json prints events: started, output as text or base64, result', () => {
    const events = user.events([
      'run',
      'web1',
      '--json',
      '--sha256',
      '--',
      'sh',
      '-c',
      String.raw`printf '\377'; echo e >&2`,
    ]);
    const { runId } = events[0]!;
    expect(events[0]).toEqual({ event: 'started', host: 'web1', runId, pid: expect.any(Number) });
    expect(events).toContainEqual({
      event: 'output',
      host: 'web1',
      runId,
      stream: 'stdout',
      offset: 0,
      base64: '/w==',
    });
    expect(events).toContainEqual({ event: 'output', host: 'web1', runId, stream: 'stderr', offset: 0, text: 'e\n' });
    expect(events.at(-1)).toMatchObject({
      event: 'result',
      outcome: 'ok',
      code: 0,
      signal: null,
      stdoutBytes: 1,
      stderrBytes: 2,
      stdoutSha256: 'a8100ae6aa1940d0b663bb31cd466142ebbdbd5187131b92d93818987832eb89',
      survivors: [],
    });
  });

  test('--encoding decodes a character that arrives in pieces', () => {
    for (const [encoding, hex, text] of [
      ['gbk', 'd6d0cec40a', '中文\n'],
      ['big5', 'a4a4a4e50a', '中文\n'],
      ['shift_jis', '93fa967b0a', '日本\n'],
      ['gbk', 'd6d0ce', '中\ufffd'],
    ] as const)
      expect(user.call(['sh', 'web1', '--encoding', encoding, '-c', write(hex).join('; ')]).stdout).toBe(text);
  });
});

describe('stdin', () => {
  test('is a pipe’s or a file’s, to its very end', () => {
    const file = join(user.home, 'input');
    writeFileSync(file, 'x'.repeat(300_000));
    expect(user.call(['run', 'web1', '--', 'wc', '-c'], { input: 'a\nb' }).stdout.trim()).toBe('3');
    expect(user.bash(`sendall run web1 -- wc -c < ${file}`).stdout.trim()).toBe('300000');
    expect(user.call(['run', 'web1', `--stdin=${file}`, '--', 'wc', '-c']).stdout.trim()).toBe('300000');
  });

  test('-n leaves it alone, so that a loop over hosts reads its own', () => {
    const loop = 'while read h; do sendall run -n $h -- echo on $h; done';
    expect(user.bash(loop, { input: 'web1\nweb2\n' }).stdout).toBe('on web1\non web2\n');
  });

  test('that never ends does not delay our end after the command’s', async () => {
    const child = user.start(['run', 'web1', '--', 'echo', 'done']);
    expect(await once(child, 'exit')).toEqual([0, null]);
  });

  test('from a file that cannot be read is refused before anything runs', () => {
    mkdirSync(join(user.home, 'folder'));
    for (const file of [join(user.home, 'missing'), join(user.home, 'folder')]) {
      const ended = user.call(['run', 'web1', `--stdin=${file}`, '--', 'touch', join(machine.user.home, 'ran')]);
      expect(ended).toMatchObject({ code: 200, stdout: '' });
      expect(ended.stderr).toContain(file);
    }
  });
});

test('--max-output shows output up to the limit, reports the excess, and ends with 206', () => {
  expect(user.call(['run', '--max-output', '1K', 'web1', '--', 'yes'])).toEqual({
    code: 206,
    stdout: 'y\n'.repeat(512),
    stderr: 'sendall: web1: the command was ended (limits): it wrote more than 1024 bytes\n',
  });
});

describe('our own stdout', () => {
  test('a reader that leaves ends the run quietly', () => {
    const ended = user.bash('sendall run web1 -- yes | head -2; echo ${PIPESTATUS[0]}');
    expect(ended).toEqual({ code: 0, stdout: 'y\ny\n141\n', stderr: '' });
  });

  test('a full disk is reported, and never ends with 0', () => {
    const ended = user.bash('sendall run web1 -- echo x > /dev/full');
    expect(ended.code).toBe(206);
    expect(ended.stderr).toMatch(/the disk is full.*sendall attach/);
  });

  test('a slow reader gets all of it', () => {
    expect(user.bash('sendall run web1 -- seq 1 300000 | (sleep 0.5; md5sum)').stdout).toBe(
      user.bash('seq 1 300000 | md5sum').stdout,
    );
  });

  test('stdout and stderr in one file keep their order', () => {
    // The next line is written when the one before has arrived.
    const arrived = (line: string) => `until grep -qs ${line} "$0"; do sleep 0.02; done`;
    const text = `for i in 1 2 3; do echo o$i; ${arrived('o$i')}; echo e$i >&2; ${arrived('e$i')}; done`;
    const { stdout } = user.bash('sendall run web1 -- sh -c "$TEXT" "$FILE" > "$FILE" 2>&1; cat "$FILE"', {
      env: { TEXT: text, FILE: join(user.home, 'both') },
    });
    expect(stdout.split('\n').filter(Boolean)).toEqual(['o1', 'e1', 'o2', 'e2', 'o3', 'e3']);
  });
});

describe('signals without a terminal', () => {
  test.each(['SIGINT', 'SIGTERM'] as const)('%s cancels', async (signal) => {
    const child = user.start(['run', '-n', 'web1', '--', 'sh', '-c', 'echo go; sleep 60']);
    await said(child, 'go');
    child.kill(signal);
    expect(await once(child, 'exit')).toEqual([204, null]);
  });

  test('SIGHUP detaches: the command goes on', async () => {
    const flag = join(user.home, 'left');
    const script = `echo go; until [ -e "${flag}" ]; do sleep 0.02; done; exit 9`;
    const child = user.start(['run', '-n', '--name', 'hung-up', 'web1', '--', 'sh', '-c', script]);
    await said(child, 'go');
    child.kill('SIGHUP');
    expect(await once(child, 'exit')).toEqual([129, null]);
    writeFileSync(flag, '');
    expect(user.call(['wait', 'hung-up']).code).toBe(9);
  });
});

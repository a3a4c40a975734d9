import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { until } from '../../../../test/support/waits.js';
import { Machine, type User } from './support.js';

let machine: Machine;
let user: User;
beforeAll(async () => {
  machine = await Machine.start();
  user = machine.pairedUser('web01', 'web02', 'web03', 'db1');
  for (const name of ['web01', 'web02', 'web03']) user.call(['hosts', 'set', name, 'role=web']);
});
afterAll(async () => {
  user[Symbol.dispose]();
  await machine[Symbol.asyncDispose]();
});

const expand = (targets: string): string[] =>
  user.call(['hosts', 'nodeset', targets, '--expand']).stdout.split('\n').filter(Boolean);

test.each([
  ['web[01-03]', ['web01', 'web02', 'web03']],
  ['web01,db1', ['db1', 'web01']],
  ['@web', ['web01', 'web02', 'web03']],
  ['@role', ['web01', 'web02', 'web03']],
  ['role=web', ['web01', 'web02', 'web03']],
  ['all', ['db1', 'web01', 'web02', 'web03']],
  ['all,!web02', ['db1', 'web01', 'web03']],
  ['all&role=web', ['web01', 'web02', 'web03']],
])('%s names %j', (targets, names) => {
  expect(expand(targets)).toEqual(names);
});

describe('--explain', () => {
  const marked = ['--', 'sh', '-c', 'touch explained-$$ && exit 9'];

  test('names the hosts of each batch and the limits, and runs nothing', () => {
    const before = user.call(['ps', '--all', '--json', 'all']).stdout;
    const { code, stdout, stderr } = user.call(
      ['run', '--explain', 'all', '--batch', '50%', '--max-fail', '1', '--window', '8', ...marked],
      { input: 'not read' },
    );
    expect(code).toBe(0);
    expect(stdout.split('\n').map((line) => (/^\d hosts /.test(line) ? [line] : line.split(/ +/)))).toEqual([
      ['BATCH', 'HOSTS', 'NAMES'],
      ['1', '2', 'db1,web01'],
      ['2', '2', 'web[02-03]'],
      ['4 hosts in 2 batches, at most 8 at a time; stops when 2 have failed; nothing was run'],
      [''],
    ]);
    expect(stderr).toBe('');
    expect(user.call(['ps', '--all', '--json', 'all']).stdout).toBe(before);
  });

  test('is one object a batch and a plan with --json, for shell text and for one host too', () => {
    expect(user.events(['sh', '--explain', '--json', '@web', '--batch', '2', '-c', 'exit 9'])).toEqual([
      { event: 'batch', batch: 1, hosts: ['web01', 'web02'] },
      { event: 'batch', batch: 2, hosts: ['web03'] },
      { event: 'plan', total: 3, batches: 2, window: 64 },
    ]);
    for (const target of ['local', 'db1'])
      expect(user.events(['run', '--explain', '--json', target, '--pty', ...marked])).toEqual([
        { event: 'batch', batch: 1, hosts: [target] },
        { event: 'plan', total: 1, batches: 1, window: 64 },
      ]);
    expect(user.call(['run', '--explain', '-q', 'db1', ...marked])).toEqual({
      code: 0,
      stdout: 'BATCH  HOSTS  NAMES\n1      1      db1\n',
      stderr: '',
    });
  });

  test('shows the canaries as a batch of their own, and an address whose key is not known', () => {
    const target = 'tls://127.0.0.1:9';
    expect(user.events(['run', '--explain', '--json', 'all', '--canary', '1', '--batch', '2', ...marked])).toEqual([
      { event: 'batch', batch: 1, canary: true, hosts: ['db1'] },
      { event: 'batch', batch: 2, hosts: ['web01', 'web02'] },
      { event: 'batch', batch: 3, hosts: ['web03'] },
      { event: 'plan', total: 4, batches: 3, canary: 1, window: 64 },
    ]);
    expect(user.events(['run', '--explain', '--json', target, ...marked])).toEqual([
      { event: 'batch', batch: 1, hosts: [target] },
      { event: 'plan', total: 1, batches: 1, window: 64, unknownKeys: [target] },
    ]);
    const { code, stdout } = user.call(['run', '--explain', `web01,${target}`, '--canary', '1', ...marked]);
    expect(code).toBe(0);
    expect(stdout.split('\n').slice(1)).toEqual([
      `canary  1      ${target}`,
      '2       1      web01',
      `the key of ${target} is not known here, so this host would be refused`,
      '2 hosts in 2 batches, at most 64 at a time; stops when a canary is not ok; nothing was run',
      '',
    ]);
  });

  test.each([
    ['--canary', '2'],
    ['--batch', '0'],
    ['--max-fail', '150%'],
  ])('a single host takes %s %s no more than a set does', (option, value) => {
    const { code, stdout, stderr } = user.call(['run', 'web01', option, value, '--', 'echo', 'ran']);
    expect([code, stdout]).toEqual([200, '']);
    expect(stderr).toContain(`${option}: `);
  });

  test('refuses what the run would refuse', () => {
    for (const [words, message] of [
      [['web9'], 'web9 is not known'],
      [['web[01-03]', '--pty'], '--pty is for one host'],
      [['all', '--batch', 'x'], '--batch: "x"'],
      [['all', '--batch', '0'], '--batch: "0" is not a number of hosts, 1 or more'],
      [['all', '--batch', '150%'], '--batch: "150%" is not a share above 0% and up to 100%'],
      [['all', '--max-fail', '101%'], '--max-fail: "101%" is not a share from 0% to 100%'],
      [['all', '--canary', '10%'], '--canary: "10%" is not a number of hosts, 1 or more'],
      [['all', '--canary', '5'], '--canary: 5 is more than the 4 hosts of the set'],
      [['all', '--pause', 'x'], '--pause: "x"'],
      [['all', '--order', 'x'], '--order: "x"'],
      [['web01&web02'], 'names no host'],
      [['all', '--timeout', 'x'], '--timeout'],
      [['@none'], 'there is no group "none", and no host has a tag of this name'],
    ] as const) {
      const { code, stdout, stderr } = user.call(['run', '--explain', ...words, ...marked]);
      expect([code, stdout]).toEqual([200, '']);
      expect(stderr).toContain(message);
    }
  });
});

describe('one command on many hosts', () => {
  test('with --json and --encoding reports an unfinished last character, as for one host', () => {
    const words = ['--json', '--encoding', 'gbk', '--', 'printf', '\\326\\320\\316'];
    for (const targets of ['web01', 'web[01-02]', 'web[01-03],db1']) {
      const texts = new Map<unknown, string>();
      for (const { event, host, text } of user.events(['run', targets, ...words]))
        if (event === 'output') texts.set(host, (texts.get(host) ?? '') + String(text));
      expect([targets, ...texts.values()]).toEqual([targets, ...expand(targets).map(() => '中\ufffd')]);
    }
  });

  test('shows its progress on a terminal after a second, and who is late; each host in its colour', () => {
    const { code, screen } = user.atTerminal(
      ['sh', 'web[01-02]', '--stdin', '-c', 'mkdir late 2>/dev/null || exit 0; read go; rmdir late; echo awake'],
      [
        { expect: '1 of 2 ended, 0 failed; late: web0' },
        { expect: ' (running ' },
        { send: 'go\n' },
        { expect: '\r\u001b[K' },
        { expect: 'awake' },
      ],
    );
    expect(code).toBe(0);
    expect(screen.replaceAll('\u001b', 'ESC')).toMatch(/ESC\[\d\dmweb0[12]:ESC\[0m awake/);
  });

  test('its progress and the output of hosts leave each other whole', () => {
    const seen = join(user.home, 'seen');
    const wait = `[ $i -ne 7 ] || until [ -e "${seen}" ]; do sleep 0.05; done`;
    const script = `for i in 1 2 3 4 5 6 7 8; do ${wait}; echo "line $i"; echo "error $i" >&2; sleep 0.3; done`;
    const { code, screen } = user.atTerminal(
      ['sh', 'web[01-03]', '-c', script],
      [{ expect: '0 of 3 ended' }, { touch: seen }],
    );
    expect(code).toBe(0);
    // What stays on the screen: each row after its last erasure, without colours.
    const rows = screen
      .split('\n')
      .map((row) => stripVTControlCharacters(row.slice(row.lastIndexOf('\r\u001b[K') + 1)).replaceAll('\r', ''))
      .filter(Boolean);
    const wanted = ['web01', 'web02', 'web03'].flatMap((host) =>
      [1, 2, 3, 4, 5, 6, 7, 8].flatMap((i) => [`${host}: line ${i}`, `${host}: error ${i}`]),
    );
    expect(rows.toSorted()).toEqual(wanted.toSorted());
  });

  test.each([
    ['Ctrl-C twice', '\u0003', 'sendall: web[02-03]: never started, cancelled with Ctrl-C'],
    ['d', 'd', '; web[02-03] never started'],
  ] as const)('%s during a pause ends it at once, and the code says that some never started', (_how, answer, words) => {
    const { code, screen } = user.atTerminal(
      ['run', 'web[01-03]', '--batch', '1', '--pause', '1h', '--', 'true'],
      [{ expect: '1 of 3 ended, 0 failed; 2 waiting' }, { ask: '\u0003', question: 'd detaches', answer }],
    );
    expect([code, screen.includes(words)]).toEqual([207, true]);
  });

  test('--gather prints the hosts without an answer last, and why', () => {
    const pin = `SHA256:${'k'.repeat(43)}`;
    expect(user.call(['hosts', 'add', 'gone', 'tls://127.0.0.1:9', '--pin', pin]).code).toBe(0);
    const ended = user.call(['run', 'gone,web01', '--gather', '--window', '1', '--', 'echo', 'here']);
    user.call(['hosts', 'rm', 'gone']);
    const rule = '-'.repeat(15);
    expect(ended.code).toBe(1);
    expect(ended.stdout).toBe(`${rule}\nweb01 (1)\n${rule}\nhere\n${rule}\ngone (1), unreachable\n${rule}\n`);
    expect(ended.stderr).toMatch(/^sendall: gone: [^\n]+\n$/);
  });

  test('names have no colours with NO_COLOR, nor in a pipe', () => {
    // Quiet: where a host is slow, the line about its progress would stand in the same rows.
    const words = 'run -q web[01-02] -- echo plain';
    const text = `sendall ${words}; NO_COLOR=1 sendall ${words}; sendall ${words} | cat`;
    const { screen } = user.bashAtTerminal(text, []);
    expect(screen.replaceAll('\u001b', 'ESC').match(/^ESC\[\d\dmweb0[12]:/gm)).toHaveLength(2);
    expect(screen.match(/^web0[12]: plain\r?$/gm)).toHaveLength(4);
  });

  test('--deadline ends each host’s command', () => {
    const words = ['--kill-grace', '0', '--', 'sleep', '600'];
    /** The first of these whose deadline left all hosts the time to start the command. */
    const started = <T>(run: (...deadline: string[]) => T, hasStarted: (ended: T) => boolean): T => {
      for (const deadline of ['2s', '20s']) {
        const ended = run('--deadline', deadline);
        if (hasStarted(ended)) return ended;
      }
      return run('--deadline', '2m');
    };
    const two = started(
      (...deadline) => user.events(['run', '--json', ...deadline, 'web[01-02]', ...words]),
      (events) => events.filter(({ event }) => event === 'started').length === 2,
    );
    expect(two.at(-1)).toMatchObject({ states: { timeout: 2 } });
    const one = started(
      (...deadline) => user.call(['run', ...deadline, 'web01', ...words]),
      ({ code }) => code !== 201,
    );
    expect(one).toMatchObject({ code: 203, stderr: expect.stringContaining('its deadline has passed') });
  });

  test('prints lines with their host, stdout and stderr apart', () => {
    const ended = user.call(['run', 'web[01-02]', '--', 'sh', '-c', 'echo a; echo e >&2; printf b']);
    expect(ended.code).toBe(0);
    expect(ended.stdout.split('\n').filter(Boolean).toSorted()).toEqual([
      'web01: a',
      'web01: b',
      'web02: a',
      'web02: b',
    ]);
    expect(ended.stderr.split('\n').filter(Boolean).toSorted()).toEqual(['web01: e', 'web02: e']);
  });

  test('shows progress lines ending in a carriage return immediately, each with its host', async () => {
    const script = 'printf "10%%\\r20%%\\r"; read go; printf "done\\r\\n\\r\\n"';
    const child = user.start(['run', 'web[01-02]', '--stdin', '--', 'sh', '-c', script]);
    child.stdout!.setEncoding('utf8');
    let shown = '';
    child.stdout!.on('data', (text: string) => (shown += text));
    // No line has ended with a newline yet.
    await until(() => ['web01', 'web02'].every((host) => shown.includes(`${host}: 20%`)), 'the progress of both hosts');
    child.stdin!.end('go\n');
    await once(child, 'close');
    for (const host of ['web01', 'web02']) {
      const own = shown.split('\n').filter((line) => line.startsWith(host));
      expect(own).toEqual(['10%\r', '20%\r', 'done\r', '\r'].map((text) => `${host}: ${text}`));
    }
  });

  test.each([
    ['bars that begin with a carriage return', '\\ra\\rb\\rc\\n', ['a\r', 'b\r', 'c']],
    ['lines that end with CR LF', 'a\\r\\n\\r\\nb\\r\\n', ['a\r', '\r', 'b\r']],
    ['lines that end with CR CR LF', 'a\\r\\r\\nb\\r\\r\\n', ['a\r', 'b\r']],
    ['a bar without an end', 'a\\rb', ['a\r', 'b']],
    ['carriage returns and nothing else', '\\r\\r', []],
  ])('carriage returns: %s', (_name, bytes, lines) => {
    // In one piece, and byte by byte.
    const pieces = bytes.match(/\\.|./g)!.map((piece) => `printf '${piece}'`);
    for (const script of [`printf '${bytes}'`, pieces.join('; sleep 0.02; ')]) {
      const { stdout } = user.call(['run', 'web[01-02]', '--', 'sh', '-c', script]);
      const own = stdout.split('\n').filter((line) => line.startsWith('web01'));
      expect(own).toEqual(lines.map((text) => `web01: ${text}`));
    }
  });

  test('runs once for each name, also when two names are one machine', () => {
    const pids = user.call(['run', 'all', '--', 'sh', '-c', 'echo $$']).stdout.match(/\d+$/gm);
    expect(new Set(pids).size).toBe(4);
  });

  test('--json ends with a summary; the code is 0 when all are ok, else 1', () => {
    expect(user.events(['run', 'web[01-03]', '--json', '--', 'true']).at(-1)).toMatchObject({
      event: 'summary',
      total: 3,
      ok: 3,
      failed: 0,
    });
    expect(user.call(['run', 'web[01-03]', '--', 'true']).code).toBe(0);
    const failing = user.call(['run', 'web[01-03]', '--', 'sh', '-c', 'exit 4']);
    expect(failing).toEqual({ code: 1, stdout: '', stderr: 'sendall: web[01-03]: exit 4\n' });
  });

  test('a set of one host ends with the command’s code', () => {
    expect(user.call(['run', 'web[01-03]&web02', '--', 'sh', '-c', 'exit 4']).code).toBe(4);
  });

  test('--max-fail stops the rest, which ends with 207', () => {
    const words = ['run', 'web[01-03]', '--window', '1', '--max-fail', '0', '--json', '--', 'false'];
    expect(user.call(words).code).toBe(207);
    expect(user.events(words).at(-1)).toMatchObject({
      total: 3,
      ok: 0,
      failed: 1,
      notStarted: 'web[02-03]',
      states: { exited: 1, neverStarted: 2 },
    });
  });

  test('--batch starts the next batch only after one has ended', () => {
    const events = user.events(['run', 'web[01-03]', '--batch', '1', '--json', '--', 'true']);
    const order = events
      .filter(({ event }) => event === 'started' || event === 'result')
      .map(({ host, event }) => `${String(host)} ${String(event)}`);
    expect(order).toEqual(['web01', 'web02', 'web03'].flatMap((host) => [`${host} started`, `${host} result`]));
  });

  test('--json names each host’s states and, with --gather, the groups of equal answers', () => {
    const script = `echo same; exit 0$(mkdir ${user.home}/first 2> /dev/null && echo 4)`;
    const events = user.events(['sh', 'web[01-03]', '--json', '--gather', '--window', '1', '-c', script]);
    for (const host of ['web01', 'web02', 'web03']) {
      const own = events.filter((each) => each.event === 'host' && each.host === host);
      expect(own.map(({ state }) => state)).toEqual(['waiting', 'connecting', 'queued', 'running', 'exited']);
      expect(own.at(-1)).toMatchObject(
        host === 'web01' ? { outcome: 'failed', reason: 'the command ended with code 4' } : { outcome: 'ok' },
      );
    }
    const group = { stdoutBytes: 5, stderrBytes: 0, stdoutSha256: createHash('sha256').update('same\n').digest('hex') };
    expect(events.at(-1)).toMatchObject({
      notStarted: '',
      states: { exited: 3 },
      outcomes: { ok: 2, failed: 1 },
      bytes: 15,
      groups: [
        { hosts: 'web[02-03]', count: 2, outcome: 'ok', code: 0, ...group },
        { hosts: 'web01', count: 1, outcome: 'failed', code: 4, ...group },
      ],
    });
  });

  test('--gather prints equal answers once, --diff how the others differ', () => {
    const gathered = user.call(['run', 'web[01-03]', '--gather', '--', 'echo', 'same']).stdout;
    expect(gathered.match(/same/g)).toHaveLength(1);
    expect(gathered).toContain('web[01-03] (3)');
    const differing = user.call([
      'sh',
      'web[01-03]',
      '--diff',
      '-c',
      'echo a; mkdir "$0.$PPID" 2>/dev/null; echo $$; echo z',
    ]).stdout;
    expect(differing).toMatch(/@@ line 2 @@\n-\d+\n\+\d+\n/);
  });

  test('--gather --json prints equal output once, and the results name its host', () => {
    const events = user.events(['run', 'web[01-03]', '--gather', '--json', '--', 'seq', '1000']);
    const output = events.filter(({ event }) => event === 'output');
    const [sample] = output.map(({ host }) => host);
    expect(output.map(({ text }) => text).join('')).toBe(Array.from({ length: 1000 }, (_, i) => `${i + 1}\n`).join(''));
    const results = events.filter(({ event }) => event === 'result');
    expect(
      results.map(({ host, outcome, stdoutBytes, stdoutFrom = host }) => [outcome, stdoutBytes, stdoutFrom]),
    ).toEqual(results.map(() => ['ok', 3893, sample]));
    expect(new Set(results.map(({ stdoutSha256 }) => stdoutSha256)).size).toBe(1);
  });

  test('each host reads all of stdin', () => {
    const ended = user.call(['run', 'web[01-03]', '--window', '1', '--', 'wc', '-c'], { input: 'x'.repeat(100_000) });
    expect(ended.stdout.match(/100000/g)).toHaveLength(3);
  });

  test('diff shows afterwards how the answers of one run differ', () => {
    user.call(['sh', 'web[01-03]', '--name', 'differing', '-c', 'echo a; echo $$; echo z']);
    const differing = user.call(['diff', 'differing']);
    expect(differing.code).toBe(1);
    expect(differing.stdout).toMatch(/@@ line 2 @@\n-\d+\n\+\d+\n/);
    user.call(['run', '--name', 'equal', 'web[01-03]', '--', 'echo', 'same']);
    expect(user.call(['diff', 'equal'])).toMatchObject({ code: 0, stdout: expect.stringContaining('web[01-03] (3)') });
  });

  test('a detached one is one run by name', () => {
    expect(user.call(['run', '-d', '--name', 'three', 'web[01-03]', '--', 'sh', '-c', 'sleep 0.2; exit 2']).code).toBe(
      0,
    );
    expect(user.call(['wait', 'three']).code).toBe(1);
    expect(user.events(['wait', 'three', '--json'])).toHaveLength(3);
  });

  test('a flood from many hosts ends when its reader leaves, and so do the commands', () => {
    const head = user.bash('sendall run web[01-03] --name flood -- yes | head -1; echo ${PIPESTATUS[0]}');
    expect(head).toEqual({ code: 0, stdout: expect.stringMatching(/^web0[1-3]: y\n141\n$/), stderr: '' });
    user.bash('until [ -z "$(sendall ps web[01-03] | grep flood)" ]; do :; done');
  });

  test('a detached one goes on when the attached reader leaves', () => {
    const loop = 'while echo line; do sleep 0.1; done';
    user.call(['run', '-d', '--name', 'looping', 'web[01-03]', '--', 'sh', '-c', loop]);
    const ended = user.bash('sendall attach looping | head -1; echo ${PIPESTATUS[0]}');
    expect(ended).toEqual({ code: 0, stdout: expect.stringMatching(/^web0.: line\n141\n$/), stderr: '' });
    expect(user.call(['ps', 'web01']).stdout.match(/running.*looping/g)).toHaveLength(3);
    expect(user.call(['kill', 'looping']).code).toBe(0);
  });
});

test.each([['web[01-'], ['web[3-1]'], ['web01&'], ['!web01'], ['@nobody'], ['web[01-09]'], ['all --pty']])(
  '%s is refused with a sentence',
  (targets) => {
    const ended = user.call(['run', ...targets.split(' '), '--', 'true']);
    expect(ended).toMatchObject({ code: 200, stdout: '' });
    expect(ended.stderr).toMatch(/^sendall: [^\n]+\n$/);
  },
);

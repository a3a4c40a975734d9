import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Machine, type User } from './support.js';
import { patience } from '../../../../test/support/waits.js';
import { rootTest } from '../../../../test/support/root.js';

let machine: Machine;
let user: User;
beforeAll(async () => {
  machine = await Machine.start();
  user = machine.pairedUser('web1');
});
afterAll(async () => {
  user[Symbol.dispose]();
  await machine[Symbol.asyncDispose]();
});

const CTRL_C = '\u0003';
const ERASED = '\r\u001b[K';
/** A screen without the line that comes first where the way to the host takes long. */
const afterDialling = (screen: string) =>
  screen
    .split(ERASED)
    .filter((part) => part && !part.startsWith('sendall: connecting to '))
    .join(ERASED);
/** Ctrl-C, and what is typed when it asks. */
const answered = (answer: string) => ({ ask: CTRL_C, question: 'd detaches', answer });

describe('Ctrl-C on a terminal', () => {
  const words = ['run', 'web1', '--', 'sh', '-c', 'echo go; sleep 60'];

  test('asks first, and the second within two seconds cancels', () => {
    const { code, screen, sane } = user.atTerminal(words, [{ expect: 'go' }, answered(CTRL_C)]);
    expect(code).toBe(204);
    expect(screen).toContain('cancelled with Ctrl-C');
    expect(sane).toBe(true);
  });

  test('d detaches: the command goes on', () => {
    const { code, screen, sane } = user.atTerminal(
      ['run', '--name', 'left', 'web1', '--', 'sh', '-c', 'printf go; sleep 60'],
      [{ expect: 'go' }, answered('d')],
    );
    expect(afterDialling(screen)).toMatch(/^go\^C\r\nsendall: Ctrl-C again/);
    expect(code).toBe(0);
    expect(screen).toContain('sendall attach');
    expect(sane).toBe(true);
    expect(user.call(['ps', 'web1']).stdout).toMatch(/running.*left/);
    user.call(['kill', 'left']);
  });

  test('is answered from the terminal while stdin is another file', () => {
    const { code } = user.bashAtTerminal(
      'sendall run --name piped web1 -- sh -c "echo go; exec sleep 60" < <(sleep 60)',
      [{ expect: 'go' }, answered('d')],
    );
    expect(code).toBe(0);
    expect(user.call(['kill', 'piped']).code).toBe(0);
  });

  test.each(['--stdin', '--stdin=/dev/tty'])('takes its answer itself, not the command that reads %s', (option) => {
    const { code, screen } = user.atTerminal(
      ['run', '--name', 'reader', option, 'web1', '--', 'sh', '-c', 'echo go; exec cat'],
      [{ expect: 'go' }, { send: 'mine\r' }, { expect: 'mine\r\nmine' }, answered('d')],
    );
    expect(screen).toContain('sendall attach');
    expect(code).toBe(0);
    expect(user.call(['logs', 'reader']).stdout).toBe('go\nmine\n');
    expect(user.call(['kill', 'reader']).code).toBe(0);
    expect(user.call(['forget', 'reader']).code).toBe(0);
  });
});

test.each([
  ['a command', []],
  ['a terminal', ['--pty']],
])('the end of output %s is reported on a line of its own', (_what, options) => {
  const command = ['--max-output', '1k', 'web1', '--', 'sh', '-c', 'printf %2000s | tr " " x; sleep 600'];
  const { code, screen } = user.atTerminal(['run', ...options, ...command], []);
  expect(code).toBe(206);
  expect(screen).toMatch(/x\r\nsendall: web1: the command was ended \(limits\).*\r\n$/);
});

// Only root may mount a disk small enough to be filled.
rootTest(
  'a command whose host has a full disk is said to wait, below what it has written; so is its cancelling',
  () => {
    const spool = join(machine.user.home, 'spool');
    mkdirSync(spool, { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k,mode=0700', 'tmpfs', spool]);
    // It fills the disk itself, after its first output.
    const script =
      'echo xxx; until grep -rq xxx "$0"; do sleep 0.05; done; cat /dev/zero > "$0/filler" 2> /dev/null; seq 100000';
    const flood = ['run', '--name', 'flood', 'web1', '--', 'sh', '-c', script, spool];
    try {
      const { code, screen } = user.atTerminal(flood, [
        { expect: 'the disk of web1 is full: the command waits' },
        answered(CTRL_C),
        { expect: 'the last output of the ended command waits' },
        { send: CTRL_C },
      ]);
      expect(code).toBe(204);
      expect(afterDialling(screen).replace(/\d/g, '')).toMatch(/^xxx\s+sendall: the disk of/);
      expect(user.call(['ps', 'web1']).stdout).toMatch(/blocked\(disk full\).*flood/);
      execFileSync('mount', ['-o', 'remount,size=64m', spool]);
      expect(user.call(['wait', 'flood']).code).toBe(204);
    } finally {
      execFileSync('umount', ['-l', spool]);
    }
  },
);

describe('a shell', () => {
  test('is a terminal with our size and TERM; it is resized, interrupted, and ends with its code', () => {
    const { code, screen, sane } = user.atTerminal(
      ['shell', 'web1'],
      [
        { send: 'PS1="[ready] "; tty; echo $TERM; stty size\r' },
        { expect: '24 80' },
        { resize: [132, 50] },
        { send: 'until [ "$(stty size)" = "50 132" ]; do sleep 0.05; done; echo re""sized\r' },
        { expect: 'resized' },
        { expect: '[ready] ' },
        // It has the foreground once it prints: an interrupt between two commands reaches neither.
        { send: 'sh -c "echo wai\'\'ting; exec sleep 60"\r' },
        { expect: 'waiting\r\n' },
        { send: CTRL_C },
        { expect: '[ready] ' },
        { send: 'echo 中文😀 interrupted=$?\r' },
        { expect: '中文😀 interrupted=130' },
        { send: 'exit 9\r' },
      ],
    );
    expect(code).toBe(9);
    expect(screen).toContain('/dev/pts/');
    expect(screen).toContain('xterm-256color');
    expect(sane).toBe(true);
  });

  test.runIf(existsSync('/bin/bash'))('is started as a login shell, with any shell', () => {
    for (const [shell, name] of [
      ['/bin/bash', '-bash'],
      ['/bin/sh', '-sh'],
    ] as const) {
      const { code, screen } = user.atTerminal(
        ['shell', '--env', `SHELL=${shell}`, 'web1'],
        [{ send: 'echo "[$0]"; tr "\\0" . < /proc/$$/cmdline; exit 4\r' }],
      );
      expect(code).toBe(4);
      expect(screen).toContain(`[${name}]`);
      expect(screen).toContain(`\n${name}.`);
    }
  });

  test('~. leaves and ends it, and ~~ is a tilde', () => {
    const { code, screen, sane } = user.atTerminal(
      ['shell', '--name', 'hung', 'web1'],
      [{ send: 'echo a$((1+1))b\r' }, { expect: 'a2b' }, { send: '~~\r' }, { expect: '~' }, { send: '~.' }],
    );
    expect(code).toBe(204);
    expect(screen).toContain('sendall: left');
    expect(sane).toBe(true);
    expect(user.call(['wait', 'hung']).code).not.toBe(0);
  });

  test('~? lists the escapes, on lines of its own', () => {
    const { code, screen } = user.atTerminal(
      ['shell', 'web1'],
      [
        { send: 'PS1="[rea""dy] "\r' },
        { expect: '[ready] ' },
        { send: '~?' },
        { expect: '~?  this help' },
        { send: 'exit 4\r' },
      ],
    );
    expect(code).toBe(4);
    expect(screen).toContain('[ready] \r\nTyped after a newline:\r\n');
  });

  test('~d detaches in the middle of vim, undoes what vim did to the screen, and attach draws it again', () => {
    const first = user.atTerminal(
      ['shell', '--name', 'editing', 'web1'],
      [{ send: 'vim -n -u NONE /etc/passwd\r' }, { expect: 'root:' }, { send: ':\r' }, { expect: ':' }, { send: '~d' }],
    );
    expect(first.code).toBe(0);
    expect(first.screen.lastIndexOf('sendall: detached')).toBeGreaterThan(first.screen.indexOf('\u001b[?1049l'));
    expect(first.screen).toContain('\u001b[?1049l');
    expect(first.sane).toBe(true);
    const again = user.atTerminal(
      ['attach', 'editing', '--from', 'end'],
      [{ expect: 'root:' }, { send: ':q!\r' }, { expect: '\u001b[?1049l' }, { expect: '# ' }, { send: 'exit 5\r' }],
    );
    expect(again.code).toBe(5);
    expect(again.sane).toBe(true);
  });

  test.each([
    ['~d', 'keys', 0],
    ['~.', 'late', 204],
  ])('gets nothing of what is typed behind %s', (escape, name, left) => {
    const { code } = user.atTerminal(
      ['shell', '--name', name, 'web1'],
      [{ send: 'echo a$((1+1))b\r' }, { expect: 'a2b' }, { send: `${escape}echo beh""ind\r` }],
    );
    expect(code).toBe(left);
    if (left === 0) expect(user.call(['kill', name]).code).toBe(0);
    expect(user.call(['logs', name]).stdout).not.toContain('beh""ind');
  });

  test('goes on when its window is closed, and takes keys again', () => {
    const closed = user.atTerminal(
      ['shell', '--name', 'closed', 'web1'],
      [{ send: 'echo a$((1+1))b\r' }, { expect: 'a2b' }, { hangup: true }],
    );
    expect(closed.code).toBe(-1);
    const again = user.atTerminal(
      ['attach', 'closed', '--from', 'end'],
      [{ send: 'echo c$((1+1))d\r' }, { expect: 'c2d' }, { send: 'exit 6\r' }],
    );
    expect(again.code).toBe(6);
  });

  test('attached in the middle of vim, it is in the modes that vim has set', () => {
    user.atTerminal(
      ['shell', '--name', 'modes', 'web1'],
      [{ send: 'vim -n -u NONE /etc/passwd\r' }, { expect: 'root:' }, { send: ':\r' }, { expect: ':' }, { send: '~d' }],
    );
    const again = user.atTerminal(
      ['attach', 'modes', '--from', 'end'],
      [{ expect: '\u001b[?1049h' }, { expect: 'root:' }, { send: ':q!\r' }, { expect: '# ' }, { send: 'exit\r' }],
    );
    expect(again.code).toBe(0);
  });

  test('attached again, it redraws earlier output and does not query our terminal again', () => {
    const first = user.atTerminal(
      ['shell', '--name', 'asking', 'web1'],
      [
        { send: "printf 'be\\e[6n\\e[cg\\e]11;?\\ain\\e]0;title\\a\\n'; read -rsd R\r" },
        { expect: 'title\u0007' },
        { send: 'R\r~d' },
      ],
    );
    expect(first.screen).toContain('\u001b[6n');
    const again = user.atTerminal(
      ['attach', 'asking'],
      [{ expect: 'begin' }, { expect: '\u001b]0;title\u0007' }, { send: 'exit 3\r' }],
    );
    expect(again.code).toBe(3);
    expect(again.screen).not.toContain('\u001b[6n');
    expect(again.screen).not.toContain('\u001b]11;?');
  });

  test('attached after a long session, it redraws the end; all of it on request', () => {
    user.atTerminal(
      ['shell', '--name', 'long', 'web1'],
      [{ send: 'PS1=; echo begi""n; seq 10000000 10030000; echo en""d\r' }, { expect: '\nend' }, { send: '~d' }],
    );
    const steps = [{ expect: '\nend' }, { send: '~d' }];
    const { screen } = user.atTerminal(['attach', 'long'], steps);
    expect(screen.includes('begin')).toBe(false);
    expect(afterDialling(screen)).toMatch(/^1002\d{4}\r\n/);
    expect(screen).toContain('10030000\r\nend\r\n');
    expect(user.atTerminal(['attach', 'long', '--from', '0'], steps).screen.includes('begin')).toBe(true);
    const tail = user.atTerminal(['attach', 'long', '--from', 'tail:4096'], steps).screen;
    expect(afterDialling(tail)).toMatch(/^1002[7-9]\d{3}\r\n/);
    user.call(['kill', 'long']);
    // It has ended: a terminal gets the end of its output, programs all of it.
    const over = user.atTerminal(['attach', 'long'], []).screen;
    expect([over.includes('begin'), over.includes('\nend\r')]).toEqual([false, true]);
    expect(user.call(['attach', 'long']).stdout).toContain('begin');
  });

  test('taken over by another terminal, it tells the first one, whose ~. ends nothing', async () => {
    const first = user.alsoAtTerminal(
      ['shell', '--name', 'shared', 'web1'],
      [{ send: 'echo a$((1+1))b\r' }, { expect: 'a2b' }, { expect: 'has taken over' }, { send: '\r~.' }],
    );
    await expect.poll(() => user.call(['logs', 'shared']).stdout, { timeout: patience(10_000) }).toContain('a2b');
    const flag = join(user.home, 'left');
    const second = user.alsoAtTerminal(
      ['attach', 'shared'],
      [{ expect: 'a2b' }, { exists: flag }, { send: 'exit $((4+4))\r' }],
    );
    expect(await first).toMatchObject({ code: 0, screen: expect.stringContaining('left it to the other terminal') });
    writeFileSync(flag, '');
    expect((await second).code).toBe(8);
  });

  test('is watched without being touched, and leaves no traces of its program behind', async () => {
    const first = user.alsoAtTerminal(
      ['shell', '--name', 'shown', 'web1'],
      [{ send: 'PS1=; printf "\\033[?25lhid"; echo den; read x; exit 4\r' }],
    );
    await expect.poll(() => user.call(['logs', 'shown']).stdout, { timeout: patience(10_000) }).toContain('hidden');
    const watched = user.atTerminal(
      ['attach', '--observe', 'shown'],
      [{ expect: 'hidden' }, { send: 'x' }, { expect: 'only watches' }, { send: CTRL_C }, { expect: '\u001b[?25h' }],
    );
    expect(watched).toMatchObject({ code: 130, sane: true });
    const steps = [{ expect: 'hidden' }, { send: CTRL_C }, { expect: '\u001b[?25h' }];
    expect(user.atTerminal(['logs', '-f', 'shown'], steps).code).toBe(-2);
    expect(user.call(['attach', '--stdin', 'shown'], { input: 'end\n' }).code).toBe(4);
    expect((await first).code).toBe(4);
  });

  test('whose host does not answer says so, below its output, and goes on when it does', () => {
    const flag = join(user.home, 'answer');
    const { code, screen } = user.atTerminal(
      ['shell', 'web1'],
      [
        {
          send: `PS1=; kill -STOP ${machine.agentPid}; until [ -e ${flag} ]; do sleep 0.1; done; kill -CONT ${machine.agentPid}; echo ba""ck\r`,
        },
        { expect: '\u001b7\u001b[999;1H\u001b[Ksendall: no answer from web1… ' },
        { touch: flag },
        { expect: 'back\r\n' },
        { send: 'exit 6\r' },
      ],
    );
    expect(code).toBe(6);
    expect(screen).toContain('\u001b7\u001b[999;1H\u001b[K\u001b8');
  });

  test('~^Z suspends us, and fg comes back to the shell', () => {
    const { code } = user.bashAtTerminal(
      'set -m; "$NODE" "$SENDALL" shell --env HOME="$HOME" web1; echo stopped=$?; fg; echo back=$?',
      [
        { send: 'echo a$((1+1))b\r' },
        { expect: 'a2b' },
        { send: '\r~\u001a' },
        { expect: 'stopped=147' },
        { send: 'echo c$((1+1))d\r' },
        { expect: 'c2d' },
        { send: 'exit 3\r' },
        { expect: 'back=3' },
      ],
    );
    expect(code).toBe(0);
  });

  test('erases whole characters, as a terminal of UTF-8 does', () => {
    const { stdout } = user.call(['run', '--pty', 'web1', '--', 'stty', '-a']);
    expect(stdout).toMatch(/[^-]iutf8/);
  });

  test('needs a terminal, and one host', () => {
    expect(user.call(['shell', 'web1'])).toMatchObject({
      code: 200,
      stderr: expect.stringContaining('needs a terminal'),
    });
    expect(user.call(['shell', 'web1,web2']).code).toBe(200);
    expect(user.call(['shell']).code).toBe(200);
  });
});

describe('run --pty', () => {
  test('joins our terminal to the command’s', () => {
    const { code, screen } = user.atTerminal(
      ['run', '--pty', 'web1', '--', 'sh', '-c', 'stty size; read x; exit $x'],
      [{ expect: '24 80' }, { send: '6\r' }],
    );
    expect(code).toBe(6);
    expect(screen).toContain('24 80');
  });

  test('gives it one without ours, too', () => {
    const ended = user.call(['run', '--pty', 'web1', '--', 'sh', '-c', 'tty; exit 4']);
    expect(ended).toEqual({ code: 4, stdout: expect.stringMatching(/^\/dev\/pts\/\d+\r\n$/), stderr: '' });
  });
});

describe('a job in the background leaves the terminal alone', () => {
  const start = '"$NODE" "$SENDALL"';
  test.each([
    ['timeout in a script', `timeout 60 ${start} run --pty web1 -- sh -c 'stty size; exit 5'; echo code=$?`, 5],
    ['with an end by timeout', `timeout 1 ${start} run --pty web1 -- sleep 60; echo code=$?`, 124],
    ['a job with "&"', `set -m; ${start} run --pty web1 -- sh -c 'echo hello; exit 6' & wait $!; echo code=$?`, 6],
    [
      'that joins a terminal',
      `set -m; id=$(${start} run -d --pty web1 -- sh -c 'echo hello; exit 7' 2>&1); ${start} attach $id & wait $!; echo code=$?`,
      7,
    ],
  ])('%s', (_, text, expected) => {
    const { code, sane } = user.bashAtTerminal(text, [{ expect: `code=${expected}\r\n` }]);
    expect([code, sane]).toEqual([0, true]);
  });

  test('and a shell, which needs it, is refused', () => {
    const { screen } = user.bashAtTerminal(`set -m; ${start} shell --env HOME="$HOME" web1 & wait $!; echo code=$?`, [
      { expect: 'code=200\r\n' },
    ]);
    expect(screen).toMatch(/shell needs the terminal, which another job has: start it without "&"/);
  });
});

/** Secrets on the command line: where they come from, how a command gets them, and what is a wrong command line. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Machine, type User } from './support.js';

let machine: Machine;
let user: User;
beforeAll(async () => {
  machine = await Machine.start();
  user = machine.pairedUser('web1', 'web2');
  writeFileSync(join(user.home, 'pass'), 'hunter2\n');
});
afterAll(async () => {
  user[Symbol.dispose]();
  await machine[Symbol.asyncDispose]();
});

const READ = ['--', 'sh', '-c', 'cat <&$DB_FD'];

describe('a secret comes', () => {
  test('from a file, byte for byte', () => {
    const said = user.call(['run', 'web1', '--secret', 'DB=@pass', ...READ], { cwd: user.home });
    expect(said).toEqual({ code: 0, stdout: 'hunter2\n', stderr: '' });
  });

  test('from our stdin, which the command does not get then', () => {
    const words = ['--', 'sh', '-c', 'cat; echo; cat <&$DB_FD'];
    const input = Buffer.from([0, 0xff, 0x0a, 0]);
    const said = user.bash('sendall run web1 --secret DB=- -- sh -c "cat; cat <&\\$DB_FD" | od -An -tx1', { input });
    expect(said.stdout.trim()).toBe('00 ff 0a 00');
    expect(user.call(['run', 'web1', '--secret', 'DB=-', ...words], { input: 'x' }).stdout).toBe('\nx');
  });

  test('from our stdin, while the command gets a file', () => {
    const words = ['run', 'web1', '--secret', 'DB=-', '--stdin=pass', '--', 'sh', '-c', 'cat; cat <&$DB_FD'];
    expect(user.call(words, { input: 'secret', cwd: user.home }).stdout).toBe('hunter2\nsecret');
  });

  test('from another program, and from the command line itself', () => {
    const text = "sendall run web1 -n --secret DB=@<(echo one) --secret B=two=2 -- sh -c 'cat <&$DB_FD; cat <&$B_FD'";
    expect(user.bash(text).stdout).toBe('one\ntwo=2');
    expect(user.call(['run', 'web1', '--secret', 'DB=', '--', 'sh', '-c', 'wc -c <&$DB_FD']).stdout).toBe('0\n');
  });
});

describe('a command gets it', () => {
  test('in descriptors from 3 on, in the order of the command line', () => {
    const words = ['run', 'web1', '--secret', 'B=1', '--secret', 'A=2', '--', 'sh', '-c', 'echo $B_FD $A_FD'];
    expect(user.call(words).stdout).toBe('3 4\n');
  });

  test('in a variable with --secret-as env', () => {
    const words = ['run', 'web1', '--secret', 'DB=@pass', '--secret-as', 'env', '--', 'sh', '-c', 'echo "$DB"'];
    expect(user.call(words, { cwd: user.home }).stdout).toBe('hunter2\n\n');
  });

  test('with shell text, detached, on a terminal, in a shell and on every host', () => {
    const from = { cwd: user.home };
    expect(user.call(['sh', 'web1', '--secret', 'DB=@pass', '-c', 'cat <&$DB_FD'], from).stdout).toBe('hunter2\n');
    const id = user.call(['run', '-d', 'web1', '--secret', 'DB=-', ...READ], { input: 'later' }).stderr.trim();
    expect(user.call(['attach', id]).stdout).toBe('later');
    const pass = `DB=@${join(user.home, 'pass')}`;
    expect(user.atTerminal(['run', '--pty', 'web1', '--secret', pass, ...READ], []).screen).toContain('hunter2');
    const shell = user.atTerminal(
      ['shell', 'web1', '--secret', pass],
      [{ expect: '# ' }, { send: 'tr a-z A-Z <&$DB_FD\n' }, { expect: 'HUNTER2' }, { send: 'exit\n' }],
    );
    expect(shell.code).toBe(0);
    const many = user.call(['run', 'web[1-2]', '--secret', 'DB=-', ...READ], { input: 'each\n' });
    expect(many.stdout.split('\n').toSorted()).toEqual(['', 'web1: each', 'web2: each']);
  });
});

test('--explain reads no value', () => {
  const words = ['run', '--explain', 'web[1-2]', '--secret', 'DB=-', '--secret', 'B=@/nowhere', '--', 'true'];
  expect(user.call(words, { input: 'hunter2' }).code).toBe(0);
});

describe('a wrong command line is refused without a word of the value:', () => {
  const wrong = (...words: string[]) => {
    const said = user.call(['run', 'web1', ...words, '--', 'true'], { input: 'hunter2', cwd: user.home });
    expect([said.code, said.stdout]).toEqual([200, '']);
    expect(said.stderr).not.toContain('hunter');
    return said.stderr;
  };

  test.each([
    [['--secret', 'hunter2'], /^sendall: --secret takes NAME=VALUE, NAME=@FILE or NAME=-$/m],
    [['--secret', '=hunter2'], /the name before "=" is not allowed: letters, digits and "_"/],
    [['--secret', '7hunter=x'], /the name before "=" is not allowed/],
    [['--secret', 'DB=hunter2', '--secret', 'DB=-'], /DB is given twice/],
    [['--secret', 'PATH=hunter2'], /PATH cannot be the name of a secret/],
    [['--secret', 'DB=hunter2', '--secret-as', 'file'], /--secret-as: "file" is not one of fd, env/],
    [['--secret-as', 'env'], /there is no --secret/],
    [['--secret', 'DB=-', '--secret', 'B=-'], /DB and B both want our stdin: .* \(B=@FILE\)/],
    [['--secret', 'DB=-', '--stdin'], /--stdin and a --secret NAME=- both want our stdin/],
    [['--secret', 'DB=@'], /after "@" comes the name of a file/],
    [['--secret', 'DB=@nowhere'], /--secret DB: the file "nowhere" does not exist$/m],
    [['--secret', 'DB=@.'], /--secret DB: the file "\." is a folder$/m],
    [['--secret', 'DB=@/dev/zero'], /has more than 1048576 bytes/],
    [['--secret', 'DB=@/dev/null'], /--secret DB: the file "\/dev\/null" is empty \(DB= gives an empty value\)$/m],
    [['--secret', 'DB=hunter2', '--env', 'DB_FD=3'], /both set the variable DB_FD/],
  ])('%j', (words, message) => {
    expect(wrong(...words)).toMatch(message);
  });

  test('our stdin is empty, closed, a folder, or open for writing only', () => {
    const said = (redirected: string) =>
      user.bash(`"$SENDALL" run web1 --secret DB=- ${redirected} -- true; echo $?`, { input: 'x' });
    expect(said('< /dev/null')).toMatchObject({
      stdout: '200\n',
      stderr: expect.stringContaining('our stdin is empty'),
    });
    expect(said('<&-')).toMatchObject({ stdout: '200\n', stderr: expect.stringContaining('our stdin is closed') });
    expect(said('< /')).toMatchObject({ stdout: '200\n', stderr: expect.stringContaining('our stdin is a folder') });
    expect(said('0> "$SENDALL_HOME/out"')).toMatchObject({
      stdout: '200\n',
      stderr: expect.stringContaining('cannot be read'),
    });
  });

  test('our stdin is a terminal', () => {
    const { code, screen } = user.atTerminal(['run', 'web1', '--secret', 'DB=-', '--', 'true'], []);
    expect([code, screen]).toEqual([200, expect.stringContaining('our stdin is a terminal, which would show it')]);
  });
});

test('the help names the ways that no list of processes shows', () => {
  const { stdout } = user.call(['run', '--help']);
  expect(stdout).toMatch(/--secret NAME=@FILE\|-\|VALUE\s+give it a secret from a file or from our stdin \(-\)/);
  expect(stdout).toMatch(/a VALUE here is\s+visible to all users of this machine \(ps\)/);
});

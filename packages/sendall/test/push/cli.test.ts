/** sendall push and pull as users type them, to a paired host and on this machine. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { Machine, type User } from '../cli/support.js';
import { digest, listTree, makeOddTree } from './tree.js';

let machine: Machine;
let user: User;
let folder: string;
let tree: string;
beforeAll(async () => {
  machine = await Machine.start();
  user = machine.pairedUser('web1', 'web2');
}, 120_000);
afterAll(async () => {
  user?.[Symbol.dispose]();
  await machine?.[Symbol.asyncDispose]();
}, 120_000);
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sendall-push-'));
  tree = join(folder, 'tree');
  return () => rmSync(folder, { recursive: true, force: true });
});

test('a tree there and back; nothing is said without a terminal', () => {
  makeOddTree(tree);
  mkdirSync(join(folder, 'srv'));
  const quiet = { code: 0, stdout: '', stderr: '' };
  expect(user.call(['push', tree, `web1:${folder}/srv`])).toEqual(quiet);
  expect(listTree(join(folder, 'srv/tree'))).toEqual(listTree(tree));
  expect(user.call(['pull', `web1:${folder}/srv/tree`, 'back'], { cwd: folder })).toEqual(quiet);
  expect(listTree(join(folder, 'back'))).toEqual(listTree(tree));
});

test('JSON: each file, and a result that counts', () => {
  makeOddTree(tree);
  const events = user.events(['push', '--json', `${tree}/`, `web1:${folder}/to/`]);
  const files = events.filter(({ event }) => event === 'file');
  const plain = files.find(({ path }) => path === 'tree/plain');
  expect(plain).toEqual({
    event: 'file',
    host: 'web1',
    path: 'tree/plain',
    kind: 'file',
    bytes: 6,
    sha256: digest('plain\n'),
    state: 'placed',
  });
  const odd = Buffer.concat([Buffer.from('tree/'), Buffer.from([0xff, 0xfe, 0x80])]);
  expect(files.map(({ pathBase64 }) => pathBase64)).toContain(odd.toString('base64'));
  const { runId, durationMs, ...result } = events.at(-1)!;
  expect(result).toMatchObject({ event: 'result', host: 'web1', outcome: 'ok', files: 58, same: 0, failed: 0 });
  expect(result.sent).toBe(result.bytes);
  expect([typeof runId, typeof durationMs]).toEqual(['string', 'number']);
  const again = user.events(['push', '--json', tree, `web1:${folder}/to`]);
  expect(again.at(-1)).toMatchObject({ event: 'result', outcome: 'ok', files: 58, same: 58 });
});

test('exit codes: 1 when a file failed and all were tried, and 2xx as for commands', () => {
  writeFileSync(join(folder, 'a'), 'a');
  writeFileSync(join(folder, 'b'), 'b');
  mkdirSync(join(folder, 'to/a/busy'), { recursive: true });
  const failed = user.call(['push', 'a', 'b', `web1:${folder}/to`], { cwd: folder });
  expect(failed.code).toBe(1);
  expect(failed.stderr).toMatch(/^sendall: web1: a: .+\n$/);
  expect(readFileSync(join(folder, 'to/b'), 'utf8')).toBe('b');
  const many = user.call(['push', 'a', 'b', `web1,web2:${folder}/to`], { cwd: folder });
  expect(many.code).toBe(1);
  expect(many.stderr).toContain('sendall: web2: one file failed');
  const missing = user.call(['push', 'nothere', 'b', `web1:${folder}/to`], { cwd: folder });
  expect(missing).toMatchObject({ code: 1, stdout: '' });
  expect(missing.stderr).toMatch(/^sendall: web1: nothere: there is no such file or folder/);
  const nameless = user.call(['push', '-', `web1:${folder}/to`], { input: 'content' });
  expect(nameless).toMatchObject({ code: 1, stderr: 'sendall: web1: to: a stream has no name: name the file\n' });
  const refused = (words: string[], text: string, code = 200) => {
    const ended = user.call(words, { cwd: folder });
    expect(ended.stderr).toContain(text);
    expect([ended.code, ended.stdout]).toEqual([code, '']);
  };
  refused(['push', 'a'], 'push takes files and where they go');
  refused(['push', 'a', '/srv/'], '"/srv/" names no host: sendall push … web1:/srv/');
  refused(['push', 'x:a', 'web1:/srv/'], 'write ./x:a for one');
  refused(['push', '-', 'a', 'web1:/srv/x'], '"-" is our stdin');
  refused(['push', '-', 'web1:/srv/'], 'what comes from stdin has no name');
  refused(['push', '--mode', '4755', 'a', 'web1:/srv/'], '--mode: "4755" is not a mode');
  refused(['push', '--no-atomc', 'a', 'web1:/srv/'], 'push has no option --no-atomc: did you mean --no-atomic?');
  refused(['pull', 'a', 'b'], '"a" names no host');
  refused(['pull', 'web1:/a', 'web2:/b', '.'], 'pull takes one word of targets');
  refused(['pull', 'web1:/a', 'web1:b'], 'the destination is a file here');
  refused(['pull', 'web1,web2:/etc/hostname', 'names'], '2 hosts would write the same files');
  refused(['pull', 'web1,web2:/etc/hostname', '-'], 'many hosts cannot share stdout');
  refused(['pull', '--json', 'web1:/etc/hostname', '-'], 'stdout is the file’s content');
  refused(['push', 'a', 'wep1:/srv/'], 'did you mean "web1"?');
  refused(['pusch', 'a', 'web1:/srv/'], 'did you mean "sendall push"?');
});

test('stdin and stdout: the content of one file', () => {
  const file = join(folder, 'motd');
  const content = Buffer.from([0, 1, 2, 0xff, 10]);
  expect(user.call(['push', '-', `web1:${file}`, '--mode', '640'], { input: content })).toMatchObject({ code: 0 });
  expect(readFileSync(file)).toEqual(content);
  const pulled = user.bash(`sendall pull web1:"$FILE" - | sha256sum; echo "\${PIPESTATUS[0]}"`, {
    env: { FILE: file },
  });
  expect(pulled.stdout).toBe(`${digest(content)}  -\n0\n`);
  const empty = user.bash('sendall push - web1:"$FILE" < /dev/null', { env: { FILE: `${file}-empty` } });
  expect(empty).toMatchObject({ code: 0, stderr: '' });
  expect(readFileSync(`${file}-empty`, 'utf8')).toBe('');
  const large = join(folder, 'large');
  writeFileSync(large, Buffer.alloc(5_000_000, 'x'));
  const gone = user.bash('sendall pull web1:"$FILE" - | head -c 10; echo "${PIPESTATUS[0]}"', { env: { FILE: large } });
  expect(gone).toMatchObject({ stdout: 'xxxxxxxxxx141\n', stderr: '' });
  const folders = user.call(['pull', `web1:${folder}`, '-']);
  expect([folders.code, folders.stdout]).toEqual([1, '']);
});

test('--dry-run prints what would be done; --verbose what was done; --delete and --exclude', () => {
  mkdirSync(tree);
  for (const name of ['a', 'b', 'c.log']) writeFileSync(join(tree, name), name);
  const to = join(folder, 'to');
  const push = (...words: string[]) => {
    const { code, stdout, stderr } = user.call(['push', ...words, tree, `web1:${to}/`]);
    expect([code, stderr]).toEqual([0, '']);
    return stdout
      .split('\n')
      .filter((line) => line && !line.endsWith(' tree'))
      .toSorted();
  };
  const leaveOut = ['--exclude', '*.log'];
  expect(push('--dry-run', ...leaveOut)).toEqual(['would place tree/a', 'would place tree/b']);
  expect(existsSync(to)).toBe(false);
  expect(push('-v', ...leaveOut)).toEqual(['placed tree/a', 'placed tree/b']);
  rmSync(join(tree, 'b'));
  writeFileSync(join(to, 'tree/kept.log'), '');
  expect(push('--dry-run', '--delete', ...leaveOut)).toEqual(['would delete tree/b']);
  expect(existsSync(join(to, 'tree/b'))).toBe(true);
  expect(push('-v', '--delete', ...leaveOut)).toEqual(['deleted tree/b', 'same tree/a']);
  expect(existsSync(join(to, 'tree/kept.log'))).toBe(true);
  expect(existsSync(join(to, 'tree/b'))).toBe(false);
});

test('relative paths begin at the home there, on local at our folder', () => {
  writeFileSync(join(folder, 'a'), 'a');
  const missing = machine.user.call(['push', 'a', 'local:sub/b'], { cwd: folder });
  expect(missing.code).toBe(1);
  expect(missing.stderr).toMatch(/^sendall: local: ".*\/sub\/b": there is no such file or folder/);
  mkdirSync(join(folder, 'sub'));
  const own = machine.user.call(['push', 'a', 'local:sub/b'], { cwd: folder });
  expect(own).toMatchObject({ code: 0, stderr: '' });
  expect(readFileSync(join(folder, 'sub/b'), 'utf8')).toBe('a');
  const name = `sendall-test-${process.pid}`;
  try {
    expect(user.call(['push', join(folder, 'a'), `web1:~/${name}`])).toMatchObject({ code: 0, stderr: '' });
    expect(user.call(['pull', `web1:${name}`, join(folder, 'c')])).toMatchObject({ code: 0, stderr: '' });
    expect(readFileSync(join(folder, 'c'), 'utf8')).toBe('a');
  } finally {
    user.call(['run', 'web1', '--', 'rm', '-f', name]);
  }
});

test('many hosts: a folder for each, JSON with a summary, and --only by the history', () => {
  writeFileSync(join(folder, 'a'), 'content');
  const events = user.events(['pull', '--json', `web1,web2:${folder}/a`, 'got/{host}/x'], { cwd: folder });
  for (const host of ['web1', 'web2']) expect(readFileSync(join(folder, `got/${host}/x`), 'utf8')).toBe('content');
  expect(events.at(-1)).toMatchObject({ event: 'summary', total: 2, ok: 2, failed: 0, files: 2, failedFiles: 0 });
  const ended = events.flatMap(({ event, host }) => (event === 'result' ? [String(host)] : []));
  expect(ended.toSorted()).toEqual(['web1', 'web2']);
  mkdirSync(join(folder, 'to/a/busy'), { recursive: true });
  const failed = user.call(['push', '--name', 'spread', 'a', `web1,web2:${folder}/to`], { cwd: folder });
  expect(failed.code).toBe(1);
  rmSync(join(folder, 'to/a'), { recursive: true });
  const again = user.events(['push', '--json', '--only', 'failed:spread', 'a', `all:${folder}/to`], { cwd: folder });
  expect(again.at(-1)).toMatchObject({ event: 'summary', total: 2, ok: 2 });
  expect(user.call(['result', 'spread']).stdout).toContain('failed');
});

test('at a terminal: a line about the transfer, then what it came to', () => {
  writeFileSync(join(folder, 'a'), 'content');
  const { code, screen } = user.atTerminal(['push', join(folder, 'a'), `web1:${folder}/b`], []);
  expect(code).toBe(0);
  expect(screen).toContain('web1: 1 file, 7 bytes');
  const typed = user.atTerminal(
    ['push', '-', `web1:${folder}/typed`],
    [{ expect: 'web1: typed 0 bytes' }, { send: 'hello\r' }, { expect: 'hello' }, { send: '\u0004' }],
  );
  expect(typed.code).toBe(0);
  expect(readFileSync(join(folder, 'typed'), 'utf8')).toBe('hello\n');
});

test('at a terminal a first Ctrl-C asks, and a second one stops the transfer', () => {
  const { code, screen } = user.atTerminal(
    ['push', '-', `web1:${folder}/never`],
    [
      { expect: 'web1: never 0 bytes' },
      { ask: '\u0003', question: 'Ctrl-C again stops the transfer', answer: '\u0003' },
    ],
  );
  expect(code).toBe(204);
  expect(screen).toContain('sendall: web1: cancelled with Ctrl-C');
  expect(existsSync(join(folder, 'never'))).toBe(false);
});

test('a host that is not there, and one that refuses', () => {
  writeFileSync(join(folder, 'a'), 'a');
  const away = user.call(['push', join(folder, 'a'), 'tls://127.0.0.1:1:/tmp/x']);
  expect([away.code, away.stdout]).toEqual([202, '']);
  expect(user.call(['hosts', 'add', 'away', 'tls://127.0.0.1:1', '--pin', 'SHA256:' + 'A'.repeat(43)]).code).toBe(0);
  expect(user.call(['push', join(folder, 'a'), 'away:/tmp/x'])).toMatchObject({ code: 201, stdout: '' });
  const [event] = user.events(['push', '--json', join(folder, 'a'), 'away:/tmp/x']);
  expect(event).toMatchObject({ event: 'result', host: 'away', outcome: 'unreachable', files: 0 });
  user.call(['hosts', 'rm', 'away']);
});

test('completion offers hosts for the words of push and pull', () => {
  const { stdout } = user.call(['complete', '--', 'push', 'we']);
  expect(stdout.split('\n')).toEqual(expect.arrayContaining(['web1:', 'web2:']));
  expect(user.call(['complete', '--', 'pull', 'web1:/x', './']).stdout).toBe(':file\n');
});

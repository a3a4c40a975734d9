/** The command line of wirelab: mistakes, help, completion, exit codes. */
// The command line of wirelab: usage errors, help, numbers, exit codes and completion, as users of sendall know them.
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { finished, wirelab } from './programs.js';

const bin = fileURLToPath(new URL('../bin/wirelab.js', import.meta.url));
const commands = ['show', 'serve', 'call', 'chat', 'inspect', 'chaos', 'probe', 'replay', 'page', 'completion'];

it.each([
  [['sho'], 'there is no command "sho": did you mean "wirelab show"?'],
  [['dance'], 'there is no command "dance": see wirelab --help'],
  [['toString'], 'there is no command "toString"'],
  [['show', 'stiky'], 'the phenomenon is one of sticky'],
  [['show', 'stiky'], 'did you mean "sticky"?'],
  [['show', '--lang', 'fr'], '--lang is one of en, zh'],
  [['show', '--json=yes'], '--json takes no value'],
  [['show', '--jsn'], 'show has no option --jsn: did you mean --json?'],
  [['show', '-json'], 'show has no option -json: did you mean --json?'],
  [['show', '-x'], 'show has no option -x: see "wirelab show --help"'],
  [['serve', 'ftp'], 'the protocol is one of recv, length-ready, struct-i, udp'],
  [['serve', 'recv', '--port', '70000'], '--port takes a whole number from 0 to 65535'],
  [['serve', 'recv', '--port', '0x10'], '--port takes a whole number from 0 to 65535, not "0x10"'],
  [['serve', 'recv', '--port=1e3'], 'not "1e3"'],
  [['serve', 'recv', '--port='], 'not ""'],
  [['serve', 'recv', '--port'], '--port needs a value (--port=PORT)'],
  [['serve', 'recv', '--port', '--encoding=gbk'], '--port needs a value'],
  [['serve', 'recv', '--host', '0.0.0.0'], 'serve has no option --host'],
  [['call', 'recv'], 'call takes a protocol and HOST:PORT'],
  [['call', 'recv', 'nowhere', 'ls'], '"nowhere" is not an address'],
  [['call', 'udp', '127.0.0.1:1', '--timeout', 'Infinity'], '--timeout takes a number'],
  [['inspect', '--listen', '0', '--to', '1'], 'inspect takes --listen ADDR'],
  [['inspect', '--listen', '0', '--to', '1', '--framing', 'u33'], 'u33'],
  [['inspect', '--listen', '0', '--to', '1', '--framing', 'u32be,ofset=3'], 'known are max=BYTES'],
  [['inspect', 'web', '--listen', '0', '--to', '1', '--framing', 'u8'], 'inspect takes options only, not "web"'],
  [['chaos', '--listen', '0', '--to', '1', '--corrupt', '2'], '--corrupt takes a number from 0 to 1'],
  [['chaos', '--listen', '0', '--to', '1', '--latency', ' 5'], '--latency takes a number'],
  [['chaos', '--listen', '0', '--to', '1', '--slice', '1.5'], '--slice takes a whole number'],
  [['probe', '127.0.0.1:1', '--framing', 'u32be', '--request', 'xyz'], '--request takes bytes in hex'],
  [['replay'], 'replay takes one FILE'],
  [['completion'], 'completion takes a shell, bash, zsh, fish'],
  [['completion', 'fishh'], 'did you mean "fish"?'],
])('%j is a usage error in one sentence, and 200', async (words, sentence) => {
  const { code, stdout, stderr } = await finished(wirelab(...words));
  expect(code).toBe(200);
  expect(stdout).toBe('');
  expect(stderr).toContain(sentence);
  expect(stderr).toMatch(/^wirelab: .*\n$/);
});

it.each(commands)('%s --help, -h and help %s show the same: summary, usage, an example, its options', async (name) => {
  const [long, short, help] = await Promise.all(
    [
      [name, '--help'],
      [name, '-h'],
      ['help', name],
    ].map((words) => finished(wirelab(...words))),
  );
  expect(long!.code).toBe(0);
  expect([short!.stdout, help!.stdout]).toEqual([long!.stdout, long!.stdout]);
  expect(long!.stdout).toMatch(new RegExp(`^.+\\n\\n  wirelab ${name} `));
  expect(long!.stdout).toMatch(/\nExamples?\n  .*wirelab /);
  expect(long!.stdout).toMatch(/\nOptions\n[^]*--help +show this help\n$/);
});

it('without a command it lists them all, and does not exit with 0', async () => {
  const { code, stdout } = await finished(wirelab());
  expect(code).toBe(200);
  expect(stdout).toBe((await finished(wirelab('--help'))).stdout);
  for (const name of commands) expect(stdout).toContain(`\n  ${name.padEnd(12)}`);
  expect((await finished(wirelab('--version'))).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
});

// A port that was free a moment ago may be another test's by now; nothing listens on port 1.
it.each([
  [['call', 'recv', '127.0.0.1:1', 'ls']],
  [['call', 'struct-i', 'unix:/nonexistent/socket', 'ls']],
  [['chat', '127.0.0.1:1']],
  [['probe', '127.0.0.1:1', '--framing', 'lines', '--request', '0a']],
])('%j that reaches no server is 201', async (words) => {
  const { code, stderr } = await finished(wirelab(...words));
  expect(code).toBe(201);
  expect(stderr).toMatch(/^wirelab: cannot reach /);
});

it('a reader of the output that leaves early makes it exit with 141', () => {
  const folder = mkdtempSync(join(tmpdir(), 'wirelab-pipe-'));
  // The only reader has gone before the program starts.
  const left = 'mkfifo "$1"; exec 3<>"$1" 4>"$1" 3<&-; shift; exec "$@" >&4';
  const words = ['-c', left, 'sh', join(folder, 'pipe'), process.execPath, bin, 'completion', 'bash'];
  const { status } = spawnSync('sh', words);
  expect(status).toBe(141);
  rmSync(folder, { recursive: true });
});

it.skipIf(process.platform !== 'linux')('output for which there is no room is 206', () => {
  const { status, stderr } = spawnSync('sh', ['-c', `"$1" "$2" --help >/dev/full`, 'sh', process.execPath, bin], {
    encoding: 'utf8',
  });
  expect(status).toBe(206);
  expect(stderr).toContain('the output cannot be written: ENOSPC');
});

it('words after -- are plain words', async () => {
  const { code, stderr } = await finished(wirelab('show', '--', '--json'));
  expect(code).toBe(200);
  expect(stderr).toContain('the phenomenon is one of');
});

it.each([
  [['sh'], ['show']],
  [['--h'], ['--help']],
  [['show', 'st'], ['sticky']],
  [['show', '--l'], ['--lang']],
  [
    ['show', '--lang', ''],
    ['en', 'zh'],
  ],
  [['show', '--lang=z'], ['--lang=zh']],
  [
    ['show', '--lang', '='],
    ['en', 'zh'],
  ],
  [['show', '--lang', '=', 'z'], ['zh']],
  [
    ['serve', ''],
    ['recv', 'length-ready', 'struct-i', 'udp'],
  ],
  [['call', 'udp', '--encoding', 'g'], ['gbk']],
  [['inspect', '--framing', 'gu'], ['guess']],
  [['probe', '--framing', 'oct'], ['octet-counting']],
  [['inspect', '--record', 'x'], [':file']],
  [['replay', ''], [':file']],
  [
    ['completion', ''],
    ['bash', 'zsh', 'fish'],
  ],
  [['chaos', '--listen', ''], []],
])('completes %j with %j', async (words, found) => {
  const { code, stdout } = await finished(wirelab('complete', '--', ...words));
  expect(code).toBe(0);
  expect(stdout.split('\n').filter(Boolean)).toEqual(found);
});

it('the script for bash completes commands, options and values', () => {
  const folder = mkdtempSync(join(tmpdir(), 'wirelab-bin-'));
  try {
    symlinkSync(bin, join(folder, 'wirelab'));
    chmodSync(bin, 0o755);
    const complete = (line: string) => {
      const words = line.split(' ');
      const script = `source <(wirelab completion bash); COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _wirelab; printf '%s\\n' "\${COMPREPLY[@]}"`;
      const PATH = `${folder}:${process.env.PATH}`;
      return spawnSync('bash', ['-c', script], { encoding: 'utf8', env: { ...process.env, PATH } }).stdout.trim();
    };
    expect(complete('wirelab insp')).toBe('inspect');
    expect(complete('wirelab chaos --cut')).toBe('--cut-every');
    expect(complete('wirelab show stic')).toBe('sticky');
  } finally {
    rmSync(folder, { recursive: true });
  }
});

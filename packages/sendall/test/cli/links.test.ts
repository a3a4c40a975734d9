import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { connect, resolveHome } from 'sendall';
import { natsHostOf } from '../../dist/text/nats-address.js';
import { until, within } from '../../../../test/support/waits.js';
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

interface Status {
  pid: number;
  links: { url: string; callers: number }[];
}
const status = (): Status => user.events(['links', '--json'])[0] as unknown as Status;
/** Runs a command and waits until the warm-links process it started holds links. */
function warm(): Status {
  user.bash(
    'sendall run web1 -n -- true; until sendall links | grep -q ^process; do :; done; sendall run web1 -n -- true',
  );
  return status();
}

test('a first command leaves a process that holds the link for the next', () => {
  const { pid, links } = warm();
  expect(links).toEqual([expect.objectContaining({ url: machine.url })]);
  expect(user.call(['run', 'web1', '--', 'sh', '-c', 'echo out; echo err >&2; exit 3'])).toEqual({
    code: 3,
    stdout: 'out\n',
    stderr: 'err\n',
  });
  expect(status().pid).toBe(pid);
});

test('that process holds no resources of the shell that ran the command', () => {
  user.call(['links', 'stop']);
  const text =
    'sendall run web1 -n -- echo said > >(cat) 2> >(cat >&2); until sendall links | grep -q ^process; do :; done';
  expect(user.bash(text)).toMatchObject({ code: 0, stdout: 'said\n' });
});

test('many commands at once share it, and every byte is where it belongs', () => {
  warm();
  const text = `for i in $(seq 8); do sendall run web1 -- sh -c "seq $((i * 1000)); wc -c" < <(seq $i) > "$SENDALL_HOME/out$i" & done; wait
    for i in $(seq 8); do diff <(seq $((i * 1000)); seq $i | wc -c) "$SENDALL_HOME/out$i" || exit 1; done`;
  expect(user.bash(text)).toEqual({ code: 0, stdout: '', stderr: '' });
  expect(status().links).toHaveLength(1);
});

test('killing it in the middle of a command loses nothing', async () => {
  const { pid } = warm();
  const flag = join(user.home, 'resumed');
  const script = `echo go; until [ -e "${flag}" ]; do sleep 0.02; done; seq 50000; exit 4`;
  const child = user.start(['run', '-n', 'web1', '--json', '--', 'sh', '-c', script]);
  await said(child, 'go');
  process.kill(pid, 'SIGKILL');
  let text = '';
  child.stdout!.on('data', (chunk: string) => (text += chunk));
  const closed = once(child, 'close');
  await until(() => text.includes('"resumed"'), 'another link');
  writeFileSync(flag, '');
  expect(await closed).toEqual([4, null]);
  const events = text
    .split('\n')
    .flatMap((line) => (line.startsWith('{') ? [JSON.parse(line) as { event: string }] : []));
  expect(events).toContainEqual(expect.objectContaining({ event: 'resumed' }));
  expect(events.at(-1)).toMatchObject({ event: 'result', outcome: 'failed', code: 4, stdoutBytes: 288_897 });
});

test('commands do without a stuck warm-links process', () => {
  const { pid } = warm();
  process.kill(pid, 'SIGSTOP');
  expect(user.call(['run', '-n', 'web1', '--', 'echo', 'direct'])).toMatchObject({ code: 0, stdout: 'direct\n' });
  process.kill(pid, 'SIGKILL');
});

test('--no-share does without it', () => {
  // A separate user: processes of earlier commands may still be starting.
  using lone = machine.pairedUser('web1');
  expect(lone.call(['run', '-n', '--no-share', 'web1', '--', 'true']).code).toBe(0);
  expect(lone.call(['links']).stdout).toContain('no process holds warm links');
});

test('errors about a host are the same as without it', () => {
  warm();
  const pin = ['--pin', `SHA256:${'A'.repeat(43)}`];
  for (const [name, url, code, sentence] of [
    ['nobody', 'tls://127.0.0.1:1', 201, 'tls://127.0.0.1:1 cannot be reached'],
    ['changed', machine.url, 202, `the key at ${machine.url} has changed`],
    ['unset', natsHostOf(pin[1]!), 200, 'no broker is set up here'],
  ] as const) {
    user.call(['hosts', 'add', name, url, ...pin]);
    for (const words of [
      ['run', '-n', name, '--', 'true'],
      ['audit', 'head', '--on', name],
    ]) {
      // prettier-ignore
      const through = user.call(words);
      expect(through).toMatchObject({ code, stdout: '' });
      expect(through.stderr).toContain(`sendall: ${code === 200 ? '' : `${name}: `}${sentence}`);
      expect(through).toEqual(user.call([words[0]!, '--no-share', ...words.slice(1)]));
    }
    user.call(['hosts', 'rm', name]);
  }
});

test('a key that is removed ends its warm link, and each command names the host that does not know it', () => {
  using lone = machine.pairedUser('web1');
  lone.bash('sendall run web1 -n -- true; until sendall links | grep -q ^process; do :; done; sendall ps web1');
  const key = String(lone.events(['identity', '--json'])[0]!.fingerprint);
  expect(machine.user.call(['pair', '--remove', key]).code).toBe(0);
  const sentence = `sendall: web1: this agent does not know the key ${key}: pair with it`;
  for (const words of [
    ['run', '-n', 'web1', '--', 'true'],
    ['ps', 'web1'],
    ['audit', 'head', '--on', 'web1'],
  ]) {
    const through = lone.call(words);
    expect(through.stderr).toContain(sentence);
    expect(through).toEqual(lone.call([words[0]!, '--no-share', ...words.slice(1)]));
  }
});

test('a question on a warm link that ends learns why', async () => {
  using lone = machine.pairedUser('web1');
  lone.bash('sendall run web1 -n -- true; until sendall links | grep -q ^process; do :; done; sendall ps web1');
  const key = String(lone.events(['identity', '--json'])[0]!.fingerprint);
  await using host = await connect('web1', { home: resolveHome({ SENDALL_HOME: lone.home }), share: () => undefined });
  // While the keeper stands still, the question is open.
  const { keeperPid } = machine.user.events(['agent', 'status', '--json'])[0]! as { keeperPid: number };
  process.kill(keeperPid, 'SIGSTOP');
  try {
    const asked = host.ask('status');
    const removed = machine.user.start(['pair', '--remove', key]);
    await expect(within(asked, 'the end of the question')).rejects.toThrow(/this agent does not know the key/);
    removed.kill();
  } finally {
    process.kill(keeperPid, 'SIGCONT');
  }
});

test('it ends when idle, and only one runs', async () => {
  user.call(['links', 'stop']);
  const holder = user.start(['links', 'serve', '--idle', '1h']);
  user.bash('until sendall links | grep -q ^process; do :; done');
  expect(user.call(['links', 'serve'])).toMatchObject({
    code: 200,
    stderr: expect.stringContaining('another process'),
  });
  user.call(['links', 'stop']);
  expect(await once(holder, 'exit')).toEqual([0, null]);
  expect(user.call(['links', 'serve', '--idle', '100ms'])).toMatchObject({ code: 0 });
});

test('a command goes on when no process can be started to hold its link', () => {
  user.call(['links', 'stop']);
  const tries = `for n in 20 22 24 26; do (ulimit -n $n; sendall run web1 -n -- echo said); sendall links stop > /dev/null; done`;
  expect(user.bash(tries)).toEqual({ code: 0, stdout: 'said\n'.repeat(4), stderr: '' });
});

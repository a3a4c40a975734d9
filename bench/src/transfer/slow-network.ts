/** Two network namespaces and a link between them that delays and loses packets. Needs root and /dev/net/tun. */
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const WIRE = fileURLToPath(new URL('../../../packages/sendall/test/fixtures/slow-wire.py', import.meta.url));

/** Why there is none here; undefined when there can be one. */
export function noNetworks(): string | undefined {
  if (process.getuid?.() !== 0) return 'it takes root';
  if (!existsSync('/dev/net/tun')) return 'there is no /dev/net/tun';
  if (spawnSync('unshare', ['--net', 'true']).status !== 0) return 'namespaces are not allowed here';
  return undefined;
}

async function openNamespace() {
  const holder = spawn('unshare', ['--net', 'cat'], { stdio: ['pipe', 'pipe', 'inherit'] });
  holder.stdin.write('\n');
  await once(holder.stdout, 'data');
  return { holder, words: ['nsenter', `--net=/proc/${holder.pid}/ns/net`] };
}

const call = (...words: readonly string[]) => execFileSync(words[0]!, words.slice(1), { stdio: 'inherit' });

/** `delay`: milliseconds of one direction; `loss`: packets of a hundred. */
export async function openSlowNetwork(delay: number, loss: number, seed: number) {
  const [near, far] = [await openNamespace(), await openNamespace()];
  const link = { near: 'near0', far: 'far0', delay, jitter: 0, loss };
  const [program, ...rest] = [...near.words, 'python3', WIRE, String(seed), JSON.stringify([link])];
  const wire: ChildProcess = spawn(program!, rest, { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(wire.stdout!, 'data');
  call(...near.words, 'ip', 'link', 'set', 'lo', 'up');
  call(...near.words, 'ip', 'link', 'set', 'far0', 'netns', String(far.holder.pid));
  call(...near.words, 'ip', 'address', 'add', '10.99.0.1', 'peer', '10.99.0.2', 'dev', 'near0');
  call(...far.words, 'ip', 'address', 'add', '10.99.0.2', 'peer', '10.99.0.1', 'dev', 'far0');
  call(...far.words, 'ip', 'link', 'set', 'lo', 'up');
  call(...far.words, 'ip', 'link', 'set', 'far0', 'up');
  call(...near.words, 'ip', 'link', 'set', 'near0', 'up');
  return {
    near: near.words,
    far: far.words,
    address: '10.99.0.2',
    close() {
      wire.stdin!.end();
      for (const { holder } of [near, far]) holder.stdin.destroy();
    },
  };
}

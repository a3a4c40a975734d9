/** host.push, host.pull and fleet.push on hosts in this process, with links that break. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { inspect } from 'node:util';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { testHosts, TransferError, UsageError, type TestFleet, type TransferEvent } from 'sendall';
import { SharedReads } from '../../dist/fleet/shared-reads.js';
import { within } from '../../../../test/support/waits.js';
import { digest, listTree, makeOddTree } from './tree.js';

let hosts: TestFleet;
let folder: string;
let tree: string;
beforeAll(async () => {
  hosts = await testHosts(3, { faults: { cutAfter: 400_000 } });
});
afterAll(async () => await hosts.close());
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sendall-push-'));
  tree = join(folder, 'tree');
  makeOddTree(tree);
  return () => rmSync(folder, { recursive: true, force: true });
});

test('a tree arrives as it was, both ways, and a second time no large file travels', async () => {
  const host = hosts.hosts[0]!;
  const there = join(folder, 'to/tree');
  const pushed = await host.push(tree, join(folder, 'to/'));
  expect(listTree(there)).toEqual(listTree(tree));
  expect(pushed).toMatchObject({ ok: true, outcome: 'ok', files: 58, same: 0, failed: 0, problems: [], host: host.id });
  expect(pushed.sent).toBe(pushed.bytes);
  const again = await host.push(tree, join(folder, 'to'));
  expect(again).toMatchObject({ files: 58, same: 58 });
  expect(again.sent).toBe(pushed.sent - 1_000_000);
  const back = join(folder, 'back');
  expect(await host.pull(there, back)).toMatchObject({ ok: true, files: 58 });
  expect(listTree(back)).toEqual(listTree(tree));
});

test('events come in order: each file, progress, and the result last', async () => {
  const transfer = hosts.hosts[0]!.push([join(tree, 'plain'), join(tree, 'large')], join(folder, 'to/'));
  const events: TransferEvent[] = [];
  for await (const event of transfer) events.push(event);
  const files = events.flatMap((event) => (event.event === 'file' ? [event] : []));
  expect(files.map(({ path, state, bytes }) => `${path} ${state} ${bytes}`).toSorted()).toEqual([
    'large placed 1000000',
    'plain placed 6',
  ]);
  expect(files.find(({ path }) => path === 'plain')!.sha256).toBe(digest('plain\n'));
  expect(events.at(-1)).toMatchObject({ event: 'result', result: { ok: true, files: 2, runId: transfer.runId } });
  expect(events.filter(({ event }) => event === 'result')).toHaveLength(1);
  await expect(async () => {
    for await (const _ of transfer) break;
  }).rejects.toThrow('the events of a transfer can be read once');
  expect(inspect(transfer)).toMatch(/^Transfer TransferResult \{\s+outcome: 'ok',/);
});

test('a file that fails leaves the others alone, and the error names it', async () => {
  const there = join(folder, 'there');
  mkdirSync(join(there, 'tree/plain/busy'), { recursive: true });
  const error = await hosts.hosts[0]!.push(tree, `${there}/`).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(TransferError);
  const { result, code, message } = error as TransferError;
  expect(code).toBe('FAILED');
  expect(message).toMatch(/^one file failed \(test-1\)\ntree\/plain: /);
  expect(result).toMatchObject({ ok: false, outcome: 'failed', files: 57, failed: 1 });
  expect(result.problems.map(({ path }) => path)).toEqual(['tree/plain']);
  expect(readFileSync(join(there, 'tree/large')).equals(readFileSync(join(tree, 'large')))).toBe(true);
  expect(await hosts.hosts[0]!.push(tree, `${there}/`, { reject: false })).toMatchObject({ ok: false, failed: 1 });
});

test('what is not there fails by name', async () => {
  const nowhere = join(folder, 'nowhere');
  const pushed = await hosts.hosts[0]!.push([nowhere, join(tree, 'plain')], join(folder, 'to/')).nothrow();
  expect(pushed).toMatchObject({ ok: false, outcome: 'failed', failed: 1, files: 1 });
  expect(pushed.problems[0]!.path).toContain('nowhere');
  const pulled = await hosts.hosts[0]!.pull(nowhere, join(folder, 'back')).nothrow();
  expect(pulled).toMatchObject({ ok: false, outcome: 'failed', failed: 1, files: 0 });
});

test('streams: content from one becomes a file, and a file becomes content', async () => {
  const [host] = hosts.hosts;
  const content = Buffer.alloc(3_000_000, 'content ');
  const file = join(folder, 'file');
  async function* pieces() {
    for (let at = 0; at < content.length; at += 70_001) yield content.subarray(at, at + 70_001);
  }
  expect(await host!.push(pieces(), file, { mode: 0o600 })).toMatchObject({ files: 1, bytes: content.length });
  expect(readFileSync(file).equals(content)).toBe(true);
  await host!.push(Readable.from(['text']), file);
  expect(readFileSync(file, 'utf8')).toBe('text');
  const got: Buffer[] = [];
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      got.push(Buffer.from(chunk));
      setImmediate(() => done());
    },
  });
  expect(await host!.pull(join(tree, 'large'), sink)).toMatchObject({ files: 1, bytes: 1_000_000 });
  expect(Buffer.concat(got).equals(readFileSync(join(tree, 'large')))).toBe(true);
});

test('options: exclude, delete, dryRun, mode and checksum', async () => {
  const [host] = hosts.hosts;
  const to = join(folder, 'to/');
  const there = join(to, 'tree');
  expect(await host!.push(tree, to, { dryRun: true })).toMatchObject({ ok: true, files: 58, sent: 0 });
  expect(existsSync(to)).toBe(false);
  await host!.push(tree, to, { exclude: ['a/b', 'lar*'], mode: 0o600 });
  expect(existsSync(join(there, 'a/b'))).toBe(false);
  expect(existsSync(join(there, 'large'))).toBe(false);
  expect(listTree(there)['/empty']).toMatch(/^file 600 /);
  writeFileSync(join(there, 'extra'), '');
  writeFileSync(join(there, 'large'), 'excluded');
  rmSync(join(tree, '-n'));
  const gone = await host!.push(tree, to, { delete: true, exclude: ['lar*'] });
  expect(gone).toMatchObject({ ok: true, deleted: 2 });
  expect(existsSync(join(there, 'extra'))).toBe(false);
  expect(readFileSync(join(there, 'large'), 'utf8')).toBe('excluded');
  expect(await host!.push(tree, to, { checksum: true })).toMatchObject({ ok: true, same: 56 });
});

test('a wrong option or operand is refused by name before anything starts', () => {
  const host = hosts.hosts[0]!;
  const wrong = (call: () => unknown, text: string) => {
    expect(call).toThrow(UsageError);
    expect(call).toThrow(text);
  };
  wrong(() => host.push('a', 'b', { mod: 1 } as never), 'there is no push option "mod"');
  wrong(() => host.pull('a', 'b', { mode: 0o4755 }), 'mode: 2541 is not a mode from 0o000 to 0o777');
  wrong(() => host.push('a', 'b', { fsync: 'never' as never }), 'fsync: "never" is not one of end, each, none');
  wrong(() => host.push('a', 'b', { exclude: [''] }), 'exclude: an array is not an array of at most 1000 patterns');
  wrong(() => host.push('', 'b'), 'the source: "" is not a path');
  wrong(() => host.push([], 'b'), 'the source: an array is not');
  wrong(() => host.push('a', 'b\0'), 'the destination: "b\\u0000" is not a path');
  wrong(() => host.pull(undefined as never, 'b'), 'the source: null is not a path');
  wrong(() => host.push(Readable.from([]), 'b', { delete: true }), 'delete: a stream has no folders');
  wrong(() => host.pull(['a', 'b'], new Writable()), 'the destination is a stream');
});

test('an abort ends a transfer that waits for its source', async () => {
  const stop = new AbortController();
  const endless = new Readable({ read: () => undefined });
  endless.push('begun');
  const transfer = hosts.hosts[0]!.push(endless, join(folder, 'file'), { signal: stop.signal });
  await within(transfer.started, 'the program there');
  stop.abort(new Error('enough'));
  const error = await within(
    transfer.catch((reason: unknown) => reason as TransferError),
    'its end',
  );
  expect(error).toMatchObject({ code: 'CANCELLED', message: 'aborted by the caller (test-1)' });
  expect((error as TransferError).cause).toMatchObject({ message: 'enough' });
  expect(existsSync(join(folder, 'file'))).toBe(false);
});

test.each(['push', 'pull'] as const)(
  '%s: cancel ends a transfer in the middle, and its part is gone on with',
  async (direction) => {
    const host = hosts.hosts[0]!;
    const to = join(folder, 'to');
    const source = join(folder, 'source');
    mkdirSync(to);
    const size = 16 * 1024 * 1024;
    writeFileSync(source, Buffer.alloc(size, 'some words '));
    const transfer = host[direction](source, join(to, 'file'), { reject: false });
    for await (const event of transfer) if (event.event === 'progress' && event.sent > 0) break;
    await within(transfer.cancel({ reason: 'enough of it' }), 'its end');
    const result = await transfer;
    // It may have been faster, or its file may be in place though its end was not heard here.
    if (!result.ok) expect(result).toMatchObject({ outcome: 'cancelled', reason: 'enough of it' });
    if (existsSync(join(to, 'file'))) expect(readFileSync(join(to, 'file')).equals(readFileSync(source))).toBe(true);
    expect(readdirSync(to).filter((name) => !name.startsWith('.sendall-') && name !== 'file')).toEqual([]);
    const again = await within(host[direction](source, join(to, 'file')).nothrow(), 'the next one', 60_000);
    expect(again).toMatchObject({ ok: true, files: 1 });
    expect(readdirSync(to)).toEqual(['file']);
    expect(readFileSync(join(to, 'file')).equals(readFileSync(source))).toBe(true);
  },
);

test('a fleet: one source to all hosts, results and events by host', async () => {
  const transfer = hosts.fleet.push(tree, join(folder, 'same/'), { window: 1 });
  const { ok, results, notStarted } = await transfer;
  expect(ok).toBe(true);
  expect(results.map(({ host, files }) => [host, files])).toEqual(hosts.hosts.map(({ id }) => [id, 58]));
  expect(notStarted.size).toBe(0);
  expect(listTree(join(folder, 'same/tree'))).toEqual(listTree(tree));
  const events = new Map<string, string[]>();
  for await (const event of hosts.fleet.push(join(tree, 'plain'), join(folder, 'same/')))
    events.set(event.host, [...(events.get(event.host) ?? []), event.event === 'host' ? event.state : event.event]);
  for (const { id } of hosts.hosts)
    expect(events.get(id)!.filter((each) => each !== 'progress')).toEqual([
      'waiting',
      'connecting',
      'queued',
      'running',
      'file',
      'result',
      'exited',
    ]);
});

test('a fleet pulls into a folder for each host, by {host} or by name', async () => {
  const names = hosts.hosts.map(({ id }) => id);
  await hosts.fleet.pull(join(tree, 'plain'), join(folder, 'by-{host}/plain-{host}'));
  for (const name of names) expect(readFileSync(join(folder, `by-${name}/plain-${name}`), 'utf8')).toBe('plain\n');
  await hosts.fleet.pull(join(tree, 'plain'), join(folder, 'each/'));
  for (const name of names) expect(readFileSync(join(folder, 'each', name, 'plain'), 'utf8')).toBe('plain\n');
  expect(() => hosts.fleet.pull('/etc/hostname', folder)).toThrow('3 hosts would write the same files');
});

test('shared reads: one reading for hosts that are near each other, and no more memory than was allowed', async () => {
  const { open } = await import('node:fs/promises');
  const file = await open(join(tree, 'large'));
  const read = async (reads: SharedReads, position: number) => {
    const into = Buffer.alloc(100_000);
    return [await reads.read(file.fd, 'id', position, into), digest(into)];
  };
  const whole = readFileSync(join(tree, 'large'));
  const part = (position: number) => [100_000, digest(whole.subarray(position, position + 100_000))];
  const roomy = new SharedReads(1_000_000);
  for (const [, position] of [0, 0, 100_000, 0, 100_000].entries())
    expect(await read(roomy, position)).toEqual(part(position));
  expect(roomy.readBytes).toBe(200_000);
  const tight = new SharedReads(150_000);
  const [one, two] = await Promise.all([read(tight, 0), read(tight, 0)]);
  expect(one).toEqual(two);
  expect(tight.readBytes).toBe(100_000);
  await read(tight, 100_000);
  expect(await read(tight, 0)).toEqual(part(0));
  expect(tight.readBytes).toBe(300_000);
  await file.close();
  await expect(tight.read(2 ** 30, 'other', 0, Buffer.alloc(1))).rejects.toThrow('EBADF');
});

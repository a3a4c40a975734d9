import {
  appendFileSync,
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { execFileSync } from 'node:child_process';
import { PassThrough } from 'node:stream';
import { lengthPrefixed } from '@sendall/framing';
import { describe, expect, test } from 'vitest';
import { receiveFiles } from '../../dist/transfer/receiving.js';
import { sendFiles } from '../../dist/transfer/sending.js';
import { plainReads } from '../../dist/transfer/source/reads.js';
import { encodeEntry, encodeMessage } from '../../dist/transfer/stream/messages.js';
import type { FileEvent } from '../../dist/transfer/stream/events.js';
import type { TransferSettings } from '../../dist/transfer/stream/settings.js';
import { rootDescribe, rootTest } from '../../../../test/support/root.js';
import { within } from '../../../../test/support/waits.js';
import { folder, listing, startHelper, transfer } from './both-ends.js';

const LARGE = 1_000_000;
const onLinux = test.runIf(process.platform === 'linux');

describe('names', () => {
  onLinux('of any bytes and up to 255 of them arrive', async () => {
    const top = `${folder()}/top`;
    mkdirSync(top);
    const names = ['line\nbreak', 'escape\x1b[2J', ' ', '-rf', '*', 'x'.repeat(255), 'Ü'.repeat(127), '\\', '"'];
    const raw = [Buffer.from([0xff, 0xfe]), Buffer.from([0xc3, 0x28, 0x80])];
    for (const name of [...names.map((each) => Buffer.from(each)), ...raw]) {
      writeFileSync(Buffer.concat([Buffer.from(`${top}/`), name]), name);
    }
    // The longest name for a large file, too: its temporary file has another.
    writeFileSync(`${top}/${'y'.repeat(255)}`, Buffer.alloc(LARGE));
    const copy = `${folder()}/copy`;
    const { received } = await transfer([top], copy);
    expect(received).toMatchObject({ placed: names.length + raw.length + 2, failed: 0 });
    expect(listing(copy)).toEqual(listing(top));
  });

  const top = { kind: 1, mode: 0o755, seconds: 0, nanoseconds: 0 };
  test.each([
    ['..', '..'],
    ['.', '.'],
    ['a slash', 'a/b'],
    ['an absolute path', '/etc/passwd'],
    ['nothing', ''],
    ['a zero byte', 'a\0b'],
    ['256 bytes', 'x'.repeat(256)],
  ])('that are no component of a path end the stream: %s', async (_what, name) => {
    const place = folder();
    const stream = sender([
      encodeMessage('begin', { version: 1, sources: 1, settings: { exclude: [], fsync: 0 } }),
      encodeEntry({ ...top, name: Buffer.from('top') }),
      encodeEntry({ ...top, name: Buffer.from(name) }),
    ]);
    await expect(within(receiveFiles(`${place}/copy`, stream).result, 'the end')).rejects.toMatchObject({
      code: 'PROTOCOL',
    });
    expect(readdirSync(place)).toEqual(['copy']);
    expect(readdirSync(`${place}/copy`)).toEqual([]);
  });

  test('like those of our temporary files are refused', async () => {
    const place = folder();
    const stream = sender([
      encodeMessage('begin', { version: 1, sources: 1, settings: { exclude: [], fsync: 0 } }),
      encodeEntry({ ...top, name: Buffer.from('.sendall-x-1') }),
      encodeMessage('leave', {}),
      encodeMessage('done', { entries: 1, leftOut: [] }),
    ]);
    expect(await within(receiveFiles(`${place}/`, stream).result, 'the end')).toMatchObject({ failed: 1, placed: 0 });
    expect(readdirSync(place)).toEqual([]);
  });
});

/** A stream of frames from a sender that is not ours; what it is answered is dropped. */
function sender(frames: readonly Buffer[]) {
  const input = new PassThrough();
  const output = new PassThrough();
  output.resume();
  input.end(lengthPrefixed().encoder().encodeAll(frames));
  return { input, output };
}

const reasons = (details: readonly FileEvent[]): string[] =>
  details.filter(({ state }) => state === 'failed').map(({ path, reason }) => `${path.toString()}: ${reason}`);

describe('links', () => {
  test('in the source travel as links, loops and all', async () => {
    const top = `${folder()}/top`;
    mkdirSync(top);
    symlinkSync('loop', `${top}/loop`);
    symlinkSync('..', `${top}/up`);
    const copy = `${folder()}/copy`;
    await transfer([top], copy);
    expect(readlinkSync(`${copy}/loop`)).toBe('loop');
    expect(readlinkSync(`${copy}/up`)).toBe('..');
  });

  test('as an operand are followed, and a loop fails', async () => {
    const place = folder();
    writeFileSync(`${place}/real`, 'real');
    symlinkSync('real', `${place}/link`);
    symlinkSync('loop', `${place}/loop`);
    const { details, received } = await transfer([`${place}/link`, `${place}/loop`], `${place}/to/`);
    expect(readFileSync(`${place}/to/link`, 'utf8')).toBe('real');
    expect(received).toMatchObject({ placed: 1, failed: 1 });
    expect(reasons(details)).toEqual([expect.stringContaining('ELOOP')]);
  });

  test('to folders in the destination are not followed', async () => {
    const place = folder();
    mkdirSync(`${place}/top/inner`, { recursive: true });
    writeFileSync(`${place}/top/inner/file`, 'new');
    mkdirSync(`${place}/elsewhere`);
    mkdirSync(`${place}/to/top`, { recursive: true });
    symlinkSync(`${place}/elsewhere`, `${place}/to/top/inner`);
    const { received, details } = await transfer([`${place}/top`], `${place}/to`);
    expect(readdirSync(`${place}/elsewhere`)).toEqual([]);
    expect(received.failed).toBe(2);
    expect(reasons(details)).toEqual([
      expect.stringMatching(/^top\/inner: .*a link to one is not followed/),
      expect.stringMatching(/^top\/inner\/file: its folder failed/),
    ]);
  });

  test('to files in the destination are replaced, not followed', async () => {
    const place = folder();
    mkdirSync(`${place}/top`);
    writeFileSync(`${place}/top/file`, 'new');
    writeFileSync(`${place}/secret`, 'old');
    mkdirSync(`${place}/to/top`, { recursive: true });
    symlinkSync(`${place}/secret`, `${place}/to/top/file`);
    await transfer([`${place}/top`], `${place}/to`);
    expect(readFileSync(`${place}/secret`, 'utf8')).toBe('old');
    expect(lstatSync(`${place}/to/top/file`).isFile()).toBe(true);
  });

  test('that are swapped in for a folder during the copy lead nowhere', async () => {
    const place = folder();
    mkdirSync(`${place}/top`);
    for (let i = 0; i < 200; i++) writeFileSync(`${place}/top/${i}`, Buffer.alloc(i % 2 ? 10 : 100_000, i));
    mkdirSync(`${place}/elsewhere`);
    let swapped = false;
    const onFile = (): void => {
      if (swapped) return;
      swapped = true;
      renameSync(`${place}/copy`, `${place}/moved`);
      symlinkSync(`${place}/elsewhere`, `${place}/copy`);
    };
    const { sent } = await transfer([`${place}/top`], `${place}/copy`, {}, { receive: { onFile } });
    expect(sent.failed).toBe(0);
    expect(readdirSync(`${place}/elsewhere`)).toEqual([]);
    expect(readdirSync(`${place}/moved`)).toHaveLength(200);
  });

  test('that are swapped in for a folder of the source are not followed', async () => {
    const place = folder();
    mkdirSync(`${place}/secret`);
    writeFileSync(`${place}/secret/key`, 'key');
    mkdirSync(`${place}/top/a`, { recursive: true });
    for (let i = 0; i < 100; i++) writeFileSync(`${place}/top/${i}`, Buffer.alloc(100_000, i));
    let swapped = false;
    const onFile = (): void => {
      if (swapped) return;
      swapped = true;
      renameSync(`${place}/top`, `${place}/moved`);
      symlinkSync(`${place}/secret`, `${place}/top`);
    };
    await transfer([`${place}/top`], `${place}/copy`, {}, { receive: { onFile } });
    expect(existsSync(`${place}/copy/key`)).toBe(false);
    expect(readdirSync(`${place}/copy`)).toHaveLength(101);
  });
});

describe('what is in the way', () => {
  test('a folder, a FIFO and a file where a folder belongs each fail alone', async () => {
    const place = folder();
    mkdirSync(`${place}/top/d`, { recursive: true });
    for (const name of ['a', 'b', 'd/x', 'fine']) writeFileSync(`${place}/top/${name}`, name);
    mkdirSync(`${place}/to/top/a`, { recursive: true });
    execFileSync('mkfifo', [`${place}/to/top/b`]);
    writeFileSync(`${place}/to/top/d`, 'a file');
    const { received, details, events, sentEvents } = await transfer([`${place}/top`], `${place}/to`);
    expect(received).toMatchObject({ failed: 4, placed: 1 });
    expect(reasons(details).toSorted()).toEqual([
      'top/a: a folder is there',
      'top/b: a device, FIFO or socket is there',
      expect.stringMatching(/^top\/d\/x: its folder failed/),
      expect.stringMatching(/^top\/d: what is there is no folder/),
    ]);
    expect(sentEvents).toEqual(events);
    expect(readFileSync(`${place}/to/top/fine`, 'utf8')).toBe('fine');
    expect(readFileSync(`${place}/to/top/d`, 'utf8')).toBe('a file');
  });

  test('a FIFO in a source is skipped, and one as a source fails', async () => {
    const place = folder();
    mkdirSync(`${place}/top`);
    execFileSync('mkfifo', [`${place}/top/pipe`, `${place}/alone`]);
    const { received, events } = await transfer([`${place}/top`, `${place}/alone`], `${place}/to/`);
    expect(received).toMatchObject({ skipped: 1, failed: 1 });
    expect(events).toEqual([`failed ${place}/alone`, 'placed top', 'skipped top/pipe']);
  });
});

describe('a source that changes while it is read', () => {
  const changes: [string, (path: string) => void][] = [
    ['grows', (path) => appendFileSync(path, 'more')],
    ['shrinks', (path) => truncateSync(path, LARGE / 2)],
    ['is written to', (path) => writeFileSync(path, 'x', { flag: 'r+' })],
  ];
  test.each(changes)('%s: a problem that leaves the target alone', async (_how, change) => {
    const place = folder();
    writeFileSync(`${place}/file`, Buffer.alloc(LARGE, 1));
    // Longer ago than a tick of the disk's clock: within one, a change of the content alone cannot be seen.
    utimesSync(`${place}/file`, 1e9, 1e9);
    writeFileSync(`${place}/target`, 'old');
    let changed = false;
    const reads = {
      ...plainReads,
      async read(...[fd, id, position, into]: Parameters<typeof plainReads.read>) {
        const length = await plainReads.read(fd, id, position, into);
        if (!changed) change(`${place}/file`);
        changed = true;
        return length;
      },
    };
    const { received, sent, details } = await transfer([`${place}/file`], `${place}/target`, {}, { send: { reads } });
    expect(received).toMatchObject({ failed: 1, placed: 0 });
    expect(sent.failed).toBe(1);
    expect(reasons(details)).toEqual(['file: it changed while it was read: try it again']);
    expect(readFileSync(`${place}/target`, 'utf8')).toBe('old');
    expect(readdirSync(place).toSorted()).toEqual(['file', 'target']);
  });

  test('a small one that changes once is read again', async () => {
    const place = folder();
    writeFileSync(`${place}/file`, 'first');
    let changed = false;
    const reads = {
      ...plainReads,
      async read(...[fd, id, position, into]: Parameters<typeof plainReads.read>) {
        const length = await plainReads.read(fd, id, position, into);
        if (!changed) writeFileSync(`${place}/file`, 'second, longer');
        changed = true;
        return length;
      },
    };
    await transfer([`${place}/file`], `${place}/target`, {}, { send: { reads } });
    expect(readFileSync(`${place}/target`, 'utf8')).toBe('second, longer');
  });
});

describe('sparse files', () => {
  onLinux('of 1 TiB travel by what they hold, and keep their holes', async () => {
    const place = folder();
    const TIB = 2 ** 40;
    writeFileSync(`${place}/sparse`, 'start');
    truncateSync(`${place}/sparse`, TIB / 2);
    appendFileSync(`${place}/sparse`, 'middle');
    truncateSync(`${place}/sparse`, TIB);
    const { received } = await transfer([`${place}/sparse`], `${place}/copy`);
    expect(received).toMatchObject({ placed: 1, bytes: TIB });
    expect(received.sent).toBeLessThan(100_000);
    const stat = statSync(`${place}/copy`);
    expect(stat.size).toBe(TIB);
    expect(stat.blocks).toBeLessThan(1000);
    const ends = execFileSync('sh', [
      '-c',
      `head -c 5 ${place}/copy; tail -c +${TIB / 2 + 1} ${place}/copy | head -c 6`,
    ]);
    expect(ends.toString()).toBe('startmiddle');
  });
});

/** Sends `source` to the program at the far end, started through other programs. */
async function putThrough(through: readonly string[], source: string, target: string, settings: TransferSettings = {}) {
  const put = startHelper('put', [target], { through });
  const failed: string[] = [];
  const onFile = ({ state, reason, errno }: FileEvent): void => {
    if (state === 'failed') failed.push(`${errno}: ${reason}`);
  };
  const { result } = sendFiles([source], put.streams, { settings, onFile });
  const outcome = await within(result, 'put');
  return { ...outcome, reasons: failed, exited: await put.exited };
}

rootDescribe('a disk that is full', () => {
  const failing = (call: string, error: string): string[] => [
    'strace',
    '-f',
    '-o',
    '/dev/null',
    '-e',
    `trace=${call}`,
    '-e',
    // Once a thread: at its end koffi syncs the standard streams, and waits forever when both fail.
    `inject=${call}:error=${error}:when=1`,
  ];
  const calls: [string, string, number][] = [
    ['pwrite64', 'ENOSPC', LARGE],
    ['pwrite64', 'ENOSPC', 100],
    ['fsync', 'ENOSPC', LARGE],
    ['fsync', 'EIO', 100],
    ['rename', 'ENOSPC', LARGE],
    ['rename', 'EDQUOT', 100],
    ['ftruncate', 'EFBIG', -1],
  ];
  test.each(calls)(
    'at %s (%s, %i bytes) fails the file, keeps the old one and leaves nothing',
    async (call, error, size) => {
      const place = folder();
      if (size < 0) {
        writeFileSync(`${place}/file`, '');
        truncateSync(`${place}/file`, LARGE);
      } else writeFileSync(`${place}/file`, Buffer.alloc(size, 1));
      mkdirSync(`${place}/to`);
      writeFileSync(`${place}/to/target`, 'old');
      const result = await putThrough(failing(call, error), `${place}/file`, `${place}/to/target`);
      expect(result).toMatchObject({ failed: 1, placed: 0 });
      expect(result.reasons).toEqual([expect.stringMatching(new RegExp(`^${error}: `))]);
      expect(result.exited.code).toBe(1);
      expect(readFileSync(`${place}/to/target`, 'utf8')).toBe('old');
      expect(readdirSync(`${place}/to`)).toEqual(['target']);
    },
  );

  test('really, while large and small files arrive: those that fit are placed, and the rest fails', async () => {
    const place = folder();
    mkdirSync(`${place}/top`);
    for (let i = 0; i < 20; i++) writeFileSync(`${place}/top/${i}`, Buffer.alloc(i < 10 ? 50_000 : 200_000, i));
    mkdirSync(`${place}/small`);
    const script = `mount -t tmpfs -o size=1m none ${place}/small && "$0" "$@"; code=$?; ls -A ${place}/small/top | grep -c sendall >&2; exit $code`;
    const result = await putThrough(['unshare', '-m', 'sh', '-c', script], `${place}/top`, `${place}/small`);
    expect(result.placed + result.failed).toBe(21);
    expect(result.failed).toBeGreaterThan(3);
    expect(result.placed).toBeGreaterThan(3);
    for (const reason of result.reasons) expect(reason).toMatch(/^ENOSPC: the disk is full/);
    expect(result.exited).toEqual({ code: 1, stderr: '0\n' });
  });

  test('and one that is read-only', async () => {
    const place = folder();
    writeFileSync(`${place}/file`, 'new content');
    mkdirSync(`${place}/to`);
    writeFileSync(`${place}/to/target`, 'old');
    const script = `mount --bind ${place}/to ${place}/to && mount -o remount,ro,bind ${place}/to && exec "$0" "$@"`;
    const result = await putThrough(['unshare', '-m', 'sh', '-c', script], `${place}/file`, `${place}/to/target`);
    expect(result.reasons).toEqual([expect.stringMatching(/^EROFS: the file system is read-only/)]);
    expect(readFileSync(`${place}/to/target`, 'utf8')).toBe('old');
  });
});

rootDescribe('another user with a rule for files', () => {
  const UID = 64_321;
  const asUser = ['setpriv', `--reuid=${UID}`, `--regid=${UID}`, '--clear-groups'];
  /** A place that this user may fill, with a file beyond its root. */
  function site(): string {
    const place = folder();
    chmodSync(place, 0o755);
    mkdirSync(`${place}/root/inner`, { recursive: true });
    writeFileSync(`${place}/root/file`, 'content');
    writeFileSync(`${place}/outside`, 'outside');
    execFileSync('chown', ['-R', `${UID}:${UID}`, `${place}/root`]);
    return place;
  }
  const env = (...roots: string[]) => ({ SENDALL_ROOTS: JSON.stringify(roots) });

  async function get(place: string, operands: string[], more: NodeJS.ProcessEnv = {}): Promise<string[]> {
    const helper = startHelper('get', operands, { env: { ...env(`${place}/root`), ...more }, through: asUser });
    const events: string[] = [];
    const onFile = ({ state, errno, bytes }: FileEvent): void => {
      events.push(state === 'placed' ? `placed ${bytes}` : `${state} ${errno}`);
    };
    const { result } = receiveFiles(`${folder()}/`, helper.streams, { settings: {}, onFile });
    await within(result, 'get');
    return events;
  }

  test('reads what the rule allows, and no path around it', async () => {
    const place = site();
    symlinkSync('file', `${place}/root/link`);
    symlinkSync('..', `${place}/root/up`);
    linkSync(`${place}/outside`, `${place}/root/hard`);
    execFileSync('mkfifo', [`${place}/root/pipe`]);
    const root = `${place}/root`;
    expect(await get(place, [`${root}/file`])).toEqual(['placed 7']);
    expect(await get(place, [`${place}/outside`])).toEqual(['failed EACCES']);
    expect(await get(place, [`${root}/../outside`])).toEqual(['failed EACCES']);
    expect(await get(place, [`${root}/inner/../file`])).toEqual(['failed EACCES']);
    expect(await get(place, [`${root}//file`])).toEqual(['failed EACCES']);
    expect(await get(place, [`${root}x`])).toEqual(['failed EACCES']);
    expect(await get(place, [`${root}/link`])).toEqual(['failed EACCES']);
    expect(await get(place, [`${root}/up/outside`])).toEqual(['failed ENOTDIR']);
    expect(await get(place, [`${root}/hard`])).toEqual(['failed EACCES']);
    expect(await get(place, [`${root}/pipe`])).toEqual(['failed EACCES']);
    expect(await get(place, [`${root}/inner`])).toEqual(['failed EISDIR']);
    expect(await get(place, [root])).toEqual(['failed EISDIR']);
    expect(await get(place, ['root/file'])).toEqual(['failed EACCES']);
    expect(await get(place, [`${root}/file`], { SENDALL_MAX_SIZE: '6' })).toEqual(['failed EFBIG']);
    expect(await get(place, [`${root}/file`], env(`${root}/file`))).toEqual(['placed 7']);
  });

  test('places what the rule allows, and no path around it', async () => {
    const place = site();
    const root = `${place}/root`;
    symlinkSync(`${place}/outside`, `${root}/link`);
    symlinkSync('..', `${root}/up`);
    const source = folder();
    writeFileSync(`${source}/new`, 'new content');
    mkdirSync(`${source}/folder`);
    const put = async (target: string, name = 'new', settings: TransferSettings = {}, more: NodeJS.ProcessEnv = {}) => {
      const helper = startHelper('put', [target], { env: { ...env(root), ...more }, through: asUser });
      const errnos: string[] = [];
      const onFile = ({ state, errno }: FileEvent): void => void errnos.push(`${state} ${errno ?? ''}`);
      const { result } = sendFiles([`${source}/${name}`], helper.streams, { settings, onFile });
      return await within(result, 'put').then(
        () => errnos.join(),
        (error: Error) => error.message,
      );
    };
    expect(await put(`${root}/inner/target`)).toBe('placed ');
    expect(readFileSync(`${root}/inner/target`, 'utf8')).toBe('new content');
    expect(await put(`${root}/inner`)).toMatch(/EISDIR|no regular file/);
    expect(await put(`${place}/outside`)).toMatch(/no rule allows this path/);
    expect(await put(`${root}/../outside`)).toMatch(/no rule allows this path/);
    expect(await put(`${root}/up/root/x`)).toMatch(/ENOTDIR/);
    expect(await put(`${root}/link`)).toMatch(/no regular file/);
    expect(await put(`${root}/x`, 'folder')).toBe('failed EACCES');
    expect(await put(`${root}/x`, 'new', { delete: true })).toMatch(/does not allow delete/);
    expect(await put(`${root}/x`, 'new', {}, { SENDALL_MAX_SIZE: '3' })).toBe('failed EFBIG');
    expect(readFileSync(`${place}/outside`, 'utf8')).toBe('outside');
    expect(readdirSync(root).toSorted()).toEqual(['file', 'inner', 'link', 'up']);
  });

  test('gets nowhere without a rule', async () => {
    for (const roots of [{}, { SENDALL_ROOTS: '' }, { SENDALL_ROOTS: '[]' }, { SENDALL_ROOTS: '["x"]' }]) {
      const helper = startHelper('get', ['/etc/passwd'], { env: roots });
      const { code, stderr } = await within(helper.exited, 'the end');
      expect(code).toBe(2);
      expect(stderr).toMatch(/SENDALL_ROOTS/);
    }
  });
});

rootTest('a link that another user puts in the place of a temporary file is noticed', async () => {
  const place = folder();
  writeFileSync(`${place}/file`, Buffer.alloc(LARGE, 1));
  mkdirSync(`${place}/to`);
  // A hard link to the temporary file, made while it is written.
  const watch = (): void => {
    for (const name of readdirSync(`${place}/to`))
      if (name.startsWith('.sendall-') && !existsSync(`${place}/to/thief`))
        linkSync(`${place}/to/${name}`, `${place}/to/thief`);
  };
  const reads = {
    ...plainReads,
    async read(...words: Parameters<typeof plainReads.read>) {
      watch();
      return await plainReads.read(...words);
    },
  };
  const { received, details } = await transfer([`${place}/file`], `${place}/to/target`, {}, { send: { reads } });
  expect(received.failed).toBe(1);
  expect(reasons(details)).toEqual(['file: another process meddled with its temporary file']);
});

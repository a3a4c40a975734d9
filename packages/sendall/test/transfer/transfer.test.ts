import {
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  existsSync,
  chmodSync,
} from 'node:fs';
import { PassThrough, Readable } from 'node:stream';
import { expect, test } from 'vitest';
import { Temporaries } from '../../dist/transfer/files/names.js';
import { noise } from '../dist/chatter.js';
import { receiveFiles } from '../../dist/transfer/receiving.js';
import { within } from '../../../../test/support/waits.js';
import { sendFiles } from '../../dist/transfer/sending.js';
import { folder, listing, startHelper, streamPair, transfer } from './both-ends.js';

const LARGE = 300_000;

/** A folder with something of each kind. */
function tree(): string {
  const top = `${folder()}/app`;
  mkdirSync(`${top}/bin/deep`, { recursive: true });
  mkdirSync(`${top}/empty`);
  writeFileSync(`${top}/one`, 'hello\n', { mode: 0o640 });
  writeFileSync(`${top}/large`, Buffer.alloc(LARGE, 'sendall '));
  writeFileSync(`${top}/bin/edge`, Buffer.alloc(65_536, 1));
  writeFileSync(`${top}/bin/beyond`, Buffer.alloc(65_537, 2));
  writeFileSync(`${top}/bin/deep/nothing`, '');
  symlinkSync('one', `${top}/link`);
  symlinkSync('/no/such/place', `${top}/bin/dangling`);
  utimesSync(`${top}/one`, 1e9, 981_173_106.5);
  chmodSync(`${top}/bin/deep`, 0o555);
  return top;
}

test('a folder arrives with all it has: contents, permissions, times, links', async () => {
  const source = tree();
  const destination = `${folder()}/copy`;
  const { sent, received, events, sentEvents } = await transfer([source], destination);
  expect(listing(destination)).toEqual(listing(source));
  expect(sent).toEqual(received);
  expect(sentEvents).toEqual(events);
  expect(sent).toMatchObject({ placed: 11, same: 0, failed: 0, skipped: 0, bytes: 6 + LARGE + 65_536 + 65_537 });
});

test('a second transfer finds all the same, and sends large files no more', async () => {
  const source = tree();
  const destination = `${folder()}/`;
  await transfer([source], destination);
  const { received } = await transfer([source], destination);
  expect(received).toMatchObject({ placed: 0, same: 11, failed: 0 });
  expect(received.sent).toBeLessThan(LARGE);
});

test('the program at the far end receives and sends', async () => {
  const source = tree();
  const there = `${folder()}/there`;
  const put = startHelper('put', [there]);
  const sent = await within(sendFiles([source], put.streams, { settings: {} }).result, 'put');
  expect(await put.exited).toEqual({ code: 0, stderr: '' });
  const back = `${folder()}/back`;
  const get = startHelper('get', [there]);
  const received = await within(receiveFiles(back, get.streams, { settings: {} }).result, 'get');
  expect(await get.exited).toEqual({ code: 0, stderr: '' });
  expect(received.placed).toBe(sent.placed);
  expect(listing(back)).toEqual(listing(source));
});

test('a stream goes into a file, and a file into a stream', async () => {
  const target = `${folder()}/from-stream`;
  const stream = Readable.from([Buffer.from('first '), Buffer.alloc(LARGE, 'x'), Buffer.from(' last')]);
  const { received } = await transfer([{ name: '', stream, mode: 0o600 }], target);
  const content = readFileSync(target);
  expect(received).toMatchObject({ placed: 1, bytes: LARGE + 11 });
  expect(content.toString()).toBe(`first ${'x'.repeat(LARGE)} last`);
  const output = new PassThrough();
  const parts: Buffer[] = [];
  output.on('data', (part: Buffer) => parts.push(part));
  await transfer([target], output);
  expect(Buffer.concat(parts).equals(content)).toBe(true);
});

test('what does not arrive whole is not placed, and a wrong destination fails the transfer', async () => {
  const place = folder();
  const put = startHelper('put', [`${place}/no/such/folder/x`]);
  const { result } = sendFiles([tree()], put.streams, { settings: {} });
  await expect(within(result, 'put')).rejects.toThrow(/no such file or folder/);
  expect((await put.exited).code).toBe(2);
  expect(existsSync(`${place}/no`)).toBe(false);
});

test('a folder lands in the destination if that is there, and as the destination if not', async () => {
  const source = tree();
  const place = folder();
  const first = await transfer([source], `${place}/new`);
  expect(first.into).toBe(false);
  const second = await transfer([source], `${place}/new`);
  expect(second.into).toBe(true);
  expect(listing(`${place}/new/app`)).toEqual(listing(source));
  const forced = await transfer([source], `${place}/new`, { into: false });
  expect(forced.received).toMatchObject({ same: 11, placed: 0 });
});

test('a transfer that is repeated after it was cut off lands where the first one did', async () => {
  const source = tree();
  const destination = `${folder()}/new`;
  const [near, far] = streamPair();
  const receiving = receiveFiles(destination, far, { onFile: () => void near.output.destroy() });
  const sending = sendFiles([source], near, { settings: {} });
  await expect(within(receiving.result, 'receiver')).rejects.toThrow(/stream/);
  await expect(within(sending.result, 'sender')).rejects.toThrow(/stream/);
  const { into } = await transfer([source], destination);
  expect(into).toBe(false);
  expect(listing(destination).map(withoutFolderTimes)).toEqual(listing(source).map(withoutFolderTimes));
});

const withoutFolderTimes = (line: string): string => line.replace(/\/ \d+$/, '/');

test.runIf(process.platform === 'linux')('of a file that is there to 90 % at most 11 % is sent', async () => {
  const place = folder();
  const SIZE = 3_000_000;
  const content = noise('resumed', SIZE);
  writeFileSync(`${place}/file`, content);
  mkdirSync(`${place}/to`);
  const partial = new Temporaries('earlier').next(Buffer.from('file')).toString();
  writeFileSync(`${place}/to/${partial}`, content.subarray(0, 0.9 * SIZE), { mode: 0o600 });
  const { received } = await transfer([`${place}/file`], `${place}/to/`);
  expect(received.sent / SIZE).toBeLessThan(0.11);
  expect(readFileSync(`${place}/to/file`).equals(content)).toBe(true);
  expect(readdirSync(`${place}/to`)).toEqual(['file']);
  // With other first bytes it comes from the start.
  rmSync(`${place}/to/file`);
  writeFileSync(`${place}/to/${partial}`, noise('another', 0.9 * SIZE), { mode: 0o600 });
  const afresh = await transfer([`${place}/file`], `${place}/to/`);
  expect(afresh.received.sent).toBe(SIZE);
  expect(readFileSync(`${place}/to/file`).equals(content)).toBe(true);
});

import { assert, property, uint8Array } from 'fast-check';
import { expect, test } from 'vitest';
import { localPath, placeOf } from '../../dist/cli/words/places.js';
import { formatRate, formatTime, Rate } from '../../dist/cli/show/rate.js';
import { transferLine } from '../../dist/cli/show/transfer/transfer-line.js';
import { drawSeed } from '../../../../test/support/seed.js';

const place = (word: string) => {
  const found = placeOf(Buffer.from(word));
  return found && [found.targets, Buffer.from(found.path).toString()];
};

test('a colon before any slash makes a host, as for scp; addresses have colons of their own', () => {
  expect(place('web1:/srv/')).toEqual(['web1', '/srv/']);
  expect(place('web[01-20],!web07:/srv/a:b')).toEqual(['web[01-20],!web07', '/srv/a:b']);
  expect(place('web1:')).toEqual(['web1', './']);
  expect(place('web1:~')).toEqual(['web1', './']);
  expect(place('web1:~/x')).toEqual(['web1', 'x']);
  expect(place('web1:~other')).toEqual(['web1', '~other']);
  expect(place('local:x')).toEqual(['local', 'x']);
  expect(place('tls://10.0.0.1:7433:/x')).toEqual(['tls://10.0.0.1:7433', '/x']);
  expect(place('tls://[::1]:7433:x:y')).toEqual(['tls://[::1]:7433', 'x:y']);
  expect(place('nats:AB12:/x')).toEqual(['nats:AB12', '/x']);
  expect(place('unix:/run/agent.sock:/x')).toEqual(['unix:/run/agent.sock', '/x']);
  for (const word of ['file', './a:b', '/x:y', 'dir/a:b', '-', '']) expect(place(word)).toBeUndefined();
});

test('a path keeps every byte', () => {
  const seed = drawSeed();
  const bytes = uint8Array({ minLength: 1, maxLength: 40 }).filter((path) => path[0] !== 0x7e);
  assert(
    property(bytes, (path) => {
      const found = placeOf(Buffer.concat([Buffer.from('web1:'), path]))!;
      expect(found.targets).toBe('web1');
      expect(Buffer.from(found.path)).toEqual(Buffer.from(path));
    }),
    { seed },
  );
});

test('a file here that looks like one on a host is refused with the way to write it', () => {
  expect(() => localPath(Buffer.from('a:b'), 'a source')).toThrow('"a:b" names files on a host');
  expect(() => localPath(Buffer.from('a:b'), 'a source')).toThrow('./a:b');
  expect(() => localPath(Buffer.alloc(0), 'a source')).toThrow('a source is an empty word');
  expect(localPath(Buffer.from('./a:b'), 'a source')).toEqual(Buffer.from('./a:b'));
});

test('the line says what travels, how fast, and how long it will take', () => {
  const progress = { files: 0, bytes: 400e6, sent: 400e6, same: 0, failed: 0, totalBytes: 1288490189, path: undefined };
  expect(transferLine('web1', progress, 412e6, 'dist/app.tar')).toBe('web1: app.tar 1.2 GiB 412 MB/s 00:03 left');
  const many = { ...progress, files: 12, failed: 1, path: 'site/x' };
  expect(transferLine('web1', many, 412e6, 'site')).toBe(
    'web1: 12 files, 1 failed 381 MiB of 1.2 GiB 412 MB/s 00:03 left',
  );
  expect(transferLine('web1', { ...many, totalBytes: undefined }, undefined)).toBe('web1: 12 files, 1 failed 381 MiB');
  expect([0, 999, 1500, 2_345_678, 412e6, 1.25e9].map(formatRate)).toEqual([
    '0 B/s',
    '999 B/s',
    '1.5 kB/s',
    '2.3 MB/s',
    '412 MB/s',
    '1.3 GB/s',
  ]);
  expect([0, 0.2, 61, 3723].map(formatTime)).toEqual(['00:00', '00:01', '01:01', '1:02:03']);
});

test('a rate covers the last seconds and begins again with a new run', () => {
  const rate = new Rate();
  expect(rate.take(0, 0)).toBeUndefined();
  expect(rate.take(1000, 1000)).toBe(1000);
  for (let second = 2; second <= 10; second++) rate.take(1000, second * 1000);
  expect(rate.take(1000, 11_000)).toBe(0);
  expect(rate.take(10, 12_000)).toBeUndefined();
});

/** What the console's page makes of a fleet's hosts, a terminal's past and a log's records, and its texts; nothing is drawn here. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import '../../../../test/support/seed.js';
import { LogTail, rowOf, type LogRecord } from '../../page/views/policy/records.js';
import { partWidths } from '../../page/views/fleet/bar.js';
import { readSample } from '../../page/views/fleet/sample.js';
import { FleetHosts, KINDS, kindOf, type HostChange } from '../../page/views/fleet/hosts.js';
import { drawPast } from '../../page/views/terminal/past.js';
import { asksFirst, readPaste } from '../../page/views/terminal/paste.js';
import { Seat } from '../../page/views/terminal/seat.js';
import { EN } from '../../page/words/en.js';
import { ZH } from '../../page/words/zh.js';

const change = (host: string, state: string, more: Partial<HostChange> = {}): HostChange => ({
  host,
  state,
  sinceMs: 0,
  ...more,
});

describe('the hosts of a fleet run', () => {
  it('has each host in one kind, whatever the order of its states', () => {
    const states = ['waiting', 'connecting', 'queued', 'running', 'exited', 'timeout', 'unreachable', 'neverStarted'];
    const changes = fc.array(
      fc.record({
        host: fc.constantFrom('a', 'b', 'c', 'd'),
        state: fc.constantFrom(...states, 'a state of another version'),
        outcome: fc.constantFrom(undefined, 'ok', 'failed', 'signalled'),
        sinceMs: fc.nat(10_000),
      }),
    );
    fc.assert(
      fc.property(changes, (all) => {
        const hosts = new FleetHosts();
        for (const each of all) hosts.take([each]);
        expect(hosts.count(...KINDS)).toBe(hosts.total);
        for (const kind of KINDS) expect(hosts.rows(new Set([kind])).length).toBe(hosts.count(kind));
      }),
    );
  });

  it('counts a state that it does not know as without a certain end', () => {
    expect(kindOf({ state: 'evaporated' })).toBe('unclear');
    expect(kindOf({ state: 'exited', outcome: 'signalled' })).toBe('failed');
    expect(kindOf({ state: 'exited' })).toBe('unclear');
  });

  it('names the hosts that take more than twice as long as half of those that have ended, the latest first', () => {
    const hosts = new FleetHosts();
    hosts.take([
      change('a', 'exited', { outcome: 'ok', begunMs: 0, sinceMs: 2000 }),
      change('b', 'exited', { outcome: 'ok', begunMs: 0, sinceMs: 2000 }),
      change('c', 'running', { begunMs: 1000, sinceMs: 1500 }),
      change('d', 'connecting', { begunMs: 500, sinceMs: 500 }),
      change('e', 'running', { begunMs: 4000, sinceMs: 4000 }),
      change('f', 'waiting'),
    ]);
    // Its code comes after its state: it still counts once.
    hosts.take([
      change('a', 'exited', { outcome: 'ok', begunMs: 0, sinceMs: 2000, code: 0 }),
      change('g', 'exited', { outcome: 'ok', begunMs: 0, sinceMs: 9000 }),
    ]);
    expect(hosts.usualMs).toBe(2000);
    expect(hosts.late(4500)).toEqual([]);
    expect(hosts.late(5500).map(({ host, forMs }) => [host, forMs])).toEqual([
      ['d', 5000],
      ['c', 4500],
    ]);
  });

  it('draws no bar part too narrow to be seen, and all of them together as the whole bar', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(100_000), { minLength: 1, maxLength: 8 }), (counts) => {
        const widths = partWidths(counts);
        const sum = widths.reduce((all, width) => all + width, 0);
        expect(sum).toBeCloseTo(counts.some(Boolean) ? 100 : 0, 6);
        for (const [i, width] of widths.entries()) expect(width > 1).toBe(counts[i]! > 0);
      }),
    );
  });

  it('shows the beginning of an output as lines, without their colours', () => {
    const bytes = Buffer.from('\u001b[1;31mred\u001b[0m\r\nplain\n');
    expect(readSample({ bytes: bytes.length, base64: bytes.toString('base64') })).toEqual({
      lines: ['red', 'plain'],
      more: false,
    });
    expect(readSample({ bytes: 100, base64: Buffer.from('half a li').toString('base64') })).toEqual({
      lines: ['half a li'],
      more: true,
    });
    expect(readSample({ bytes: 0, base64: '' })).toEqual({ lines: [], more: false });
  });
});

describe('a terminal in the page', () => {
  it('may speak only in control, on a link, and when all old output is drawn', () => {
    const seat = new Seat();
    expect(seat.maySpeak).toBe(false);
    seat.attached({ end: 100, control: true });
    seat.drawn(99);
    expect(seat.maySpeak).toBe(false);
    seat.drawn(100);
    expect(seat.maySpeak).toBe(true);
    seat.controlled(false);
    expect(seat.maySpeak).toBe(false);
    seat.controlled(true);
    seat.lost();
    expect(seat.maySpeak).toBe(false);
    // What came while there was no link is old by now.
    seat.attached({ end: 500, control: true });
    expect(seat.maySpeak).toBe(false);
    seat.drawn(500);
    expect(seat.maySpeak).toBe(true);
    seat.ended();
    expect(seat.maySpeak).toBe(false);
  });

  const draw = (tail: string, screen = '') => Buffer.from(drawPast(Buffer.from(tail), screen)).toString();

  it('begins a tail of old output at a line, and ends it in the modes of now', () => {
    expect(draw('half a line\r\nwhole\r\n', '\u001b[?2004h')).toBe('whole\r\n\u001b[?2004h');
    expect(draw('no line at all')).toBe('no line at all');
  });

  it('skips what was drawn on the other screen, if the program has left it since', () => {
    expect(draw('~\r\n~\r\n\u001b[?1049l$ ls\r\n')).toBe('$ ls\r\n');
  });

  it('begins on the other screen, if all of the tail was drawn there', () => {
    const screen = '\u001b[?1049h\u001b[?25l';
    expect(draw('rest\u001b[2;1Hsecond', screen)).toBe(`${screen}\u001b[2;1Hsecond${screen}`);
  });

  it('draws the end of the tail as it is', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 10_000 }), (tail) => {
        const drawn = Buffer.from(drawPast(tail, ''));
        expect(drawn.equals(Buffer.from(tail.subarray(tail.length - drawn.length)))).toBe(true);
      }),
    );
  });

  it('asks before several lines, or anything hidden, are pasted', () => {
    expect(asksFirst(readPaste('ls -l'))).toBe(false);
    expect(asksFirst(readPaste('ls\nrm -rf x'))).toBe(true);
    expect(asksFirst(readPaste('ls\r'))).toBe(true);
    const hidden = readPaste('ls\u001b[201~\r\nid\u0003');
    expect(hidden).toEqual({ text: 'ls[201~\nid', lines: 2, removed: 2 });
    expect(asksFirst(readPaste('ls\u0007'))).toBe(true);
  });
});

describe('the records of a log', () => {
  const record = (n: number, more: object = {}): LogRecord => ({
    n,
    at: '2026-11-30T02:40:30.000Z',
    kind: 'note',
    ...more,
  });

  it('shows what was run, for whom, and the rest by name', () => {
    const row = rowOf(record(7, { kind: 'allow', run: 'r1', principal: 'alice', argv: ['id', '-u'], verb: 'exec' }));
    expect(row).toMatchObject({ n: 7, run: 'r1', principal: 'alice', words: ['id', '-u'] });
    expect(row.rest).toEqual([{ name: 'verb', value: 'exec' }]);
    expect(rowOf(record(1, { what: 'pair', argv: undefined })).words).toEqual(['pair']);
  });

  it('keeps the newest ones, and each once', () => {
    const tail = new LogTail(3);
    tail.take([record(0), record(1)]);
    tail.take([record(1), record(2), record(3)]);
    expect(tail.rows.map(({ n }) => n)).toEqual([1, 2, 3]);
    expect(tail.next).toBe(4);
  });
});

describe('the texts of the page', () => {
  it('have the same names and the same blanks in both languages', () => {
    const blanks = (text: string) => new Set(text.match(/\{\w+\}/g));
    expect(Object.keys(ZH)).toEqual(Object.keys(EN));
    for (const [name, text] of Object.entries(EN))
      expect([name, blanks(ZH[name as keyof typeof EN])]).toEqual([name, blanks(text)]);
  });

  it('are all used', () => {
    const page = fileURLToPath(new URL('../../page/', import.meta.url));
    const source = readdirSync(page, { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.tsx?$/.test(name) && !/^(dist|words)\//.test(name))
      .map((name) => readFileSync(page + name, 'utf8'))
      .join('\n');
    const quoted = new Set(
      [...source.replace(/class="[^"]*"/g, '').matchAll(/['"](\w+)['"]/g)].map(([, word]) => word!),
    );
    /** Names that are made of parts: states of hosts and runs, colours, and hints of options. */
    const isMade = (name: string) =>
      /^(s|h|scheme)_/.test(name) || (/^o[A-Z]\w*Hint$/.test(name) && quoted.has(name.replace(/Hint$/, '')));
    expect(Object.keys(EN).filter((name) => !quoted.has(name) && !isMade(name))).toEqual([]);
  });
});

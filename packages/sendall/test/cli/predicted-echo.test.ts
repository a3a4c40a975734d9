import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PredictedEcho } from '../../dist/cli/predicted-echo.js';

const SECRET = 'Password: ';

/** A line editor as readline is one: echoes what is typed at the end of a line, draws what it changes elsewhere. */
class Editor {
  #line = '';
  #at = 0;
  #secret = false;

  type(key: string): string {
    if (key === '\r') return this.#enter();
    if (this.#secret) return '';
    if (key === '\u007f') return this.#erase();
    if (key === '\u001b[D') return this.#at ? ((this.#at -= 1), '\b') : '\u0007';
    const behind = this.#line.slice(this.#at);
    this.#line = this.#line.slice(0, this.#at) + key + behind;
    this.#at += 1;
    return key + behind + '\b'.repeat(behind.length);
  }

  #erase(): string {
    if (this.#at === 0) return '\u0007';
    const behind = this.#line.slice(this.#at);
    this.#at -= 1;
    this.#line = this.#line.slice(0, this.#at) + behind;
    return `\b${behind} ${'\b'.repeat(behind.length + 1)}`;
  }

  #enter(): string {
    this.#secret = !this.#secret && this.#line.endsWith('s');
    const said = this.#line.endsWith('o') ? `${this.#line}\r\n` : '';
    this.#line = '';
    this.#at = 0;
    return `\r\n${said}${this.#secret ? SECRET : '$ '}`;
  }
}

/** Rows and cursor of a terminal that is wide enough. */
function screenOf(text: string): object {
  const rows: string[][] = [[]];
  let at = 0;
  for (const char of text) {
    const row = rows.at(-1)!;
    if (char === '\r') at = 0;
    else if (char === '\n') rows.push([]);
    else if (char === '\b') at = Math.max(0, at - 1);
    else if (char !== '\u0007') {
      while (row.length < at) row.push(' ');
      row[at++] = char;
    }
  }
  return { rows: rows.map((row) => row.join('').trimEnd()), at };
}

const keys = fc.oneof(
  { weight: 12, arbitrary: fc.constantFrom('l', 's', 'o', 'x', ' ') },
  { weight: 3, arbitrary: fc.constant('\r') },
  { weight: 1, arbitrary: fc.constantFrom('\u007f', '\u001b[D') },
);
const steps = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: fc.record({ type: keys }) },
    { weight: 2, arbitrary: fc.record({ hears: fc.nat(3) }) },
    { weight: 2, arbitrary: fc.record({ draws: fc.integer({ min: 1, max: 9 }) }) },
    { weight: 1, arbitrary: fc.constant({ says: '[1]+ Done\r\n$ ' }) },
  ),
  { minLength: 20, maxLength: 200 },
);

describe('keys shown before their echo', () => {
  test('leave the screen as it would be without, whatever the line, the program and the link do', () => {
    let early = 0;
    fc.assert(
      fc.property(steps, (script) => {
        const host = new Editor();
        const echo = new PredictedEcho();
        const typed: string[] = [];
        let sent = '';
        let plain = '';
        let shown = '';
        const draw = (count: number): void => {
          const piece = sent.slice(0, count);
          sent = sent.slice(count);
          plain += piece;
          if (piece) shown += echo.drawn(Buffer.from(piece)).toString();
        };
        const hear = (): void => {
          const key = typed.shift();
          if (key !== undefined) sent += host.type(key);
        };
        for (const step of script) {
          if ('type' in step) {
            typed.push(step.type);
            const now = echo.typed(Buffer.from(step.type)).toString();
            early += now.length;
            shown += now;
            // The prompt is on the screen: what is typed now is not.
            if (plain.endsWith(SECRET)) expect(now).toBe('');
          } else if ('hears' in step) for (let i = 0; i < step.hears; i++) hear();
          else if ('draws' in step) draw(step.draws);
          else sent += step.says;
        }
        while (typed.length) hear();
        draw(Infinity);
        expect(screenOf(shown)).toEqual(screenOf(plain));
      }),
      { numRuns: 2000 },
    );
    expect(early).toBeGreaterThan(100);
  });

  test('begin when two were echoed as they are, and end with anything else', () => {
    const echo = new PredictedEcho();
    const type = (key: string): string => echo.typed(Buffer.from(key)).toString();
    const draw = (text: string): string => echo.drawn(Buffer.from(text)).toString();
    expect([type('a'), draw('a'), type('b'), draw('b'), type('c'), draw('c')]).toEqual(['', 'a', '', 'b', 'c', '']);
    expect([type('d'), type('e'), draw('d'), draw('*')]).toEqual(['d', 'e', '', '\b \b*']);
    expect([type('f'), draw('f'), type('é'), type('g'), draw('ég')]).toEqual(['', 'f', '', '', 'ég']);
    // Over a slow link more were typed meanwhile.
    expect([type('h'), type('i'), type('j'), type('k'), draw('hi'), type('l')]).toEqual(['', '', '', '', 'hijk', 'l']);
    expect([draw('jk'), type('\r'), type('m'), draw('l\r\n$ ')]).toEqual(['', '', '', '\r\n$ ']);
  });
});

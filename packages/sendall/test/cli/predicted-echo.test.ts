import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PredictedEcho } from '../../dist/cli/terminal/predicted-echo.js';

const SECRET = 'Password: ';
/** The state of a terminal while a line editor, or a program that asks for a secret, reads from it. */
const EDITED = { canonical: false, echo: false };
const HIDDEN = { canonical: true, echo: false };
const SHOWN = { canonical: true, echo: true };

/** A line editor like readline: echoes keys at the end of a line, redraws changes elsewhere. */
class Editor {
  #line = '';
  #at = 0;
  #secret = false;

  get terminal() {
    return this.#secret ? HIDDEN : EDITED;
  }

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

/** Rows and cursor of a sufficiently wide terminal. */
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
    { weight: 1, arbitrary: fc.record({ waits: fc.constantFrom(1, 20, 300) }) },
    { weight: 1, arbitrary: fc.constant({ tells: true }) },
  ),
  { minLength: 20, maxLength: 200 },
);

describe('keys shown before their echo', () => {
  test('leave the same screen as without prediction, for any line, program and link', () => {
    let early = 0;
    fc.assert(
      fc.property(steps, (script) => {
        const host = new Editor();
        let clock = 0;
        let known = EDITED;
        const echo = new PredictedEcho(50, () => clock);
        const typed: string[] = [];
        let sent = '';
        let plain = '';
        let shown = '';
        const tell = (): void => {
          known = host.terminal;
          shown += echo.terminal(known).toString();
        };
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
        tell();
        for (const step of script) {
          if ('type' in step) {
            typed.push(step.type);
            const now = echo.typed(Buffer.from(step.type)).toString();
            if (now === step.type) early += 1;
            shown += now;
            // The prompt is on the screen, or the terminal does not echo: keys typed now are not shown.
            if (plain.endsWith(SECRET) || known === HIDDEN) expect(now).not.toContain(step.type);
          } else if ('tells' in step) tell();
          else if ('waits' in step) {
            clock += step.waits;
            shown += echo.look().toString();
          } else if ('hears' in step) for (let i = 0; i < step.hears; i++) hear();
          else if ('draws' in step) draw(step.draws);
          else sent += step.says;
        }
        while (typed.length) hear();
        draw(Infinity);
        clock += 10_000;
        shown += echo.look().toString();
        expect(screenOf(shown)).toEqual(screenOf(plain));
      }),
      { numRuns: 2000 },
    );
    // How many keys are shown early depends on the seed; that some are shows that the property is not an empty one.
    expect(early).toBeGreaterThan(0);
  });

  test('begin after two unchanged echoes, and end with anything else', () => {
    const echo = new PredictedEcho(50, () => 0);
    echo.terminal(EDITED);
    const type = (key: string): string => echo.typed(Buffer.from(key)).toString();
    const draw = (text: string): string => echo.drawn(Buffer.from(text)).toString();
    expect([type('a'), draw('a'), type('b'), draw('b'), type('c'), draw('c')]).toEqual(['', 'a', '', 'b', 'c', '']);
    expect([type('d'), type('e'), draw('d'), draw('*')]).toEqual(['d', 'e', '', '\b \b*']);
    expect([type('f'), draw('f'), type('é'), type('g'), draw('ég')]).toEqual(['', 'f', '', '', 'ég']);
    // Over a slow link more keys were typed meanwhile.
    expect([type('h'), type('i'), type('j'), type('k'), draw('hi'), type('l')]).toEqual(['', '', '', '', 'hijk', 'l']);
    expect([draw('jk'), type('\r'), type('m'), draw('l\r\n$ ')]).toEqual(['', '', '', '\r\n$ ']);
  });

  test('are erased when the terminal stops echoing, and none is shown after that', () => {
    const echo = new PredictedEcho(50, () => 0);
    const type = (key: string): string => echo.typed(Buffer.from(key)).toString();
    const draw = (text: string): string => echo.drawn(Buffer.from(text)).toString();
    echo.terminal(SHOWN);
    expect([type('a'), draw('a'), type('b'), draw('b'), type('c'), type('d')]).toEqual(['', 'a', '', 'b', 'c', 'd']);
    expect(echo.terminal(HIDDEN).toString()).toBe('\b \b\b \b');
    // The first was typed earlier and its echo is on its way: it is drawn on arrival.
    expect([type('e'), draw('c'), type('f'), type('g')]).toEqual(['', 'c', '', '']);
    // A program that happens to write the typed text.
    expect([draw('ef'), type('h')]).toEqual(['ef', '']);
    expect(echo.terminal(SHOWN).toString()).toBe('');
    expect([type('i'), draw('i'), type('j'), draw('j'), type('k')]).toEqual(['', 'i', '', 'j', 'k']);
    // The link was lost: the terminal's state is unknown.
    expect([echo.terminal(undefined).toString(), type('l')]).toEqual(['\b \b', '']);
  });

  test('are not shown when the host does not report its terminal', () => {
    const echo = new PredictedEcho(50, () => 0);
    for (const key of 'abcd') {
      expect(echo.typed(Buffer.from(key)).toString()).toBe('');
      expect(echo.drawn(Buffer.from(key)).toString()).toBe(key);
    }
  });

  test('are erased when no echo arrives within two round trips, and none is shown until one arrives', () => {
    let clock = 0;
    const echo = new PredictedEcho(50, () => clock);
    const type = (key: string): string => echo.typed(Buffer.from(key)).toString();
    const draw = (text: string): string => echo.drawn(Buffer.from(text)).toString();
    echo.terminal(EDITED);
    // The first ones arrive later than expected.
    for (const key of 'abcdef') {
      type(key);
      clock += 200;
      draw(key);
    }
    expect(type('d')).toBe('d');
    clock += 300;
    expect([echo.look().toString(), type('e')]).toEqual(['', 'e']);
    clock += 150;
    expect([echo.look().toString(), type('f'), type('g')]).toEqual(['\b \b\b \b', '', '']);
    // Late echoes are drawn, and prove nothing.
    expect([draw('d'), type('h'), draw('efg'), type('i')]).toEqual(['d', '', 'efg', '']);
  });

  test('are not shown after echoes that a mask would produce too', () => {
    const echo = new PredictedEcho(50, () => 0);
    echo.terminal(EDITED);
    for (const key of '****') {
      expect(echo.typed(Buffer.from(key)).toString()).toBe('');
      echo.drawn(Buffer.from(key));
    }
    expect(echo.typed(Buffer.from('s')).toString()).toBe('');
  });
});

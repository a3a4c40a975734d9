import { describe, expect, test } from 'vitest';
import { ScreenModes } from '../../dist/text/screen-modes.js';
import { Replay } from '../../dist/cli/terminal/replay.js';

/** The output drawn for a session whose past begins at `start`; `cut`: characters that arrive at a time. */
function drawn(past: string, { start = 100, screen = '', present = '', cut = Infinity } = {}): string {
  const end = start + past.length;
  const replay = new Replay(
    {
      past: {
        start,
        end,
        starts: { stdout: start, stderr: 0 },
        ends: { stdout: end, stderr: 0 },
        endsKnown: true,
        screen,
      },
    },
    new ScreenModes(),
  );
  const all = past + present;
  let shown = replay.begin();
  for (let at = 0; at < all.length; at += cut)
    shown += replay.draw(Buffer.from(all.slice(at, at + cut), 'latin1'), start + at).toString('latin1');
  return shown;
}

describe('a session drawn from somewhere in its middle', () => {
  test.each([1, 3, Infinity])('begins with a whole line (%s bytes at a time)', (cut) => {
    expect(drawn('lf a line\r\nnext\r\n$ ', { cut, present: 'ls' })).toBe('next\r\n$ ls');
    expect(drawn('from the start\r\n', { start: 0, cut })).toBe('from the start\r\n');
  });

  test.each([1, 7, Infinity])('omits output drawn on the other screen (%s bytes at a time)', (cut) => {
    const past = '\u001b[5;1Hvim\u001b[6;1H~\u001b[?1049l$ vim\r\n$ ';
    expect(drawn(past, { cut, present: 'ls' })).toBe('$ vim\r\n$ ls');
  });

  test.each([1, 7, Infinity])('redraws the other screen’s output there (%s bytes at a time)', (cut) => {
    const screen = '\u001b[?1049h\u001b[?25l';
    const past = '9mred\u001b[5;1Hvim';
    expect(drawn(past, { cut, screen, present: '!' })).toBe(`${screen}\u001b[5;1Hvim!`);
  });

  test.each([1, 7, Infinity])('goes to the other screen where the program did (%s bytes at a time)', (cut) => {
    const past = 'ne\r\n$ vi\r\n\u001b[?1049hvim';
    expect(drawn(past, { cut, screen: '\u001b[?1049h' })).toBe('$ vi\r\n\u001b[?1049hvim');
  });

  test('ends in the colours and modes the program had set', () => {
    const screen = '\u001b[?2004h\u001b[0;1;31m';
    expect(drawn('x\r\nred line\r\n', { screen, present: 'red' })).toBe(`red line\r\n${screen}red`);
    expect(drawn('x\r\n\u001b[?2004h\u001b[1;31mred', { screen })).toBe('\u001b[?2004h\u001b[1;31mred');
  });

  test('asks nothing', () => {
    expect(drawn('x\r\na\u001b[6nb\u001b[cc\u0007', { present: '\u001b[6n' })).toBe('abc\u001b[6n');
  });
});

describe('the modes of a screen', () => {
  const modes = (text: string): ScreenModes => {
    const watched = new ScreenModes();
    watched.watch(Buffer.from(text));
    return watched;
  };

  test('change to those of another by their differences only', () => {
    expect(modes('\u001b[?1049h\u001b[?2004h').towards(modes('\u001b[?2004h\u001b[?1000h'))).toBe(
      '\u001b[?1049l\u001b[?1000h',
    );
    expect(modes('\u001b[?2004h\u001b[?25l').towards(modes('\u001b[?25l\u001b[?2004h'))).toBe('');
  });

  test.each([
    ['\u001b[1m\u001b[31m', '\u001b[0;1;31m'],
    ['\u001b[1m\u001b[0;32m', '\u001b[0;32m'],
    ['\u001b[38;5;0m\u001b[4m', '\u001b[0;38;5;0;4m'],
    ['\u001b[1m\u001b[m', ''],
    ['\u001b[1m\u001b[00m', ''],
    ['\u001b[1m\u001bc', ''],
  ])('include the colours: %j', (text, redone) => {
    expect(modes(text).redo()).toBe(redone);
    expect(modes(text).undo()).toBe(redone && '\u001b[0m');
  });
});

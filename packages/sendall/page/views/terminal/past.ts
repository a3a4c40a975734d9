/**
 * The beginning of a terminal's session for a viewer who joins late. The tail of old output may begin inside a line, a
 * character or a sequence, and on a screen that the program entered before.
 * Source: xterm control sequences, DEC private modes 47, 1047 and 1049.
 */

/** Switches to the other screen, or back from it. */
// eslint-disable-next-line no-control-regex
const SWITCH = /\u001b\[\?(?:[\d;]*;)?(?:47|1047|1049)(?:;[\d;]*)?([hl])/;
/** The longest line that is looked for in output that has lines. */
const LONGEST_LINE = 4096;
const ESCAPE = 0x1b;
const NEWLINE = 0x0a;

/**
 * What to draw of a tail of old output that begins behind the session's first byte. `screen`: the sequences for the modes
 * that the program has set by the end of it.
 */
export function drawPast(tail: Uint8Array, screen: string): Uint8Array {
  const text = latin1(tail);
  const change = SWITCH.exec(text);
  // It was drawn on the other screen, which the program has left since.
  if (change?.[1] === 'l') return joined(tail.subarray(change.index + change[0].length), screen);
  const isOnOther = !change && SWITCH.exec(screen)?.[1] === 'h';
  const line = tail.subarray(0, LONGEST_LINE).indexOf(NEWLINE) + 1;
  const sequence = tail.indexOf(ESCAPE);
  const start = (!isOnOther && line) || (sequence < 0 ? line : sequence);
  return joined(bytes(isOnOther ? screen : ''), tail.subarray(start), screen);
}

function joined(...parts: readonly (Uint8Array | string)[]): Uint8Array {
  const all = parts.map((part) => (typeof part === 'string' ? bytes(part) : part));
  const whole = new Uint8Array(all.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of all) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

const bytes = (text: string): Uint8Array => Uint8Array.from(text, (char) => char.charCodeAt(0));

function latin1(from: Uint8Array): string {
  let text = '';
  for (let at = 0; at < from.length; at += 8192) text += String.fromCharCode(...from.subarray(at, at + 8192));
  return text;
}

/** What a paste into a terminal may do: several lines are several commands, so the reader is asked first. */

/** Control characters but tab and newline: an ESC could end a bracketed paste, and what follows would be typed. */
// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;

export interface Paste {
  /** Without control characters; its lines end in "\n". */
  readonly text: string;
  readonly lines: number;
  /** Control characters that were left out. */
  readonly removed: number;
}

export function readPaste(pasted: string): Paste {
  const lines = pasted.replace(/\r\n?/g, '\n');
  const text = lines.replace(CONTROL, '');
  return { text, lines: text.split('\n').length, removed: lines.length - text.length };
}

/** Whether to ask before it is typed: it would start something, or is not what the reader copied. */
export const asksFirst = ({ lines, removed }: Paste): boolean => lines > 1 || removed > 0;

/** Makes text from others harmless for a terminal. */

/**
 * Replaces control characters, which could steer the reader's terminal, with Unicode's pictures of them. Tab and
 * newline stay.
 */
export function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, (character) => {
    if (character === '\t' || character === '\n') return character;
    const code = character.charCodeAt(0);
    return code < 0x20 ? String.fromCharCode(0x2400 + code) : code === 0x7f ? '\u2421' : '\ufffd';
  });
}

/** One line of a text: newlines and tabs shown as pictures too. */
export function oneLine(text: string): string {
  return printable(text).replaceAll('\n', '\u240a').replaceAll('\t', '\u2409');
}

/** Makes text from a peer safe to print. */

/**
 * Text from a peer, safe to print: control characters, and characters that turn or hide text, become `\u{…}`; at most
 * `max` characters are kept.
 */
export function printable(text: string, max = 200): string {
  const cut = text.length > max ? `${text.slice(0, max)}…` : text;
  return cut.replace(/[\p{C}\u2028\u2029]/gu, (char) => `\\u{${char.codePointAt(0)!.toString(16)}}`);
}

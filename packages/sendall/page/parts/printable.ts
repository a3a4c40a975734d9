/** Text from hosts and commands made safe to show: what would turn, hide or move text is shown instead of obeyed. */

/** Control characters, characters that turn or hide text, and line separators. */
const HIDDEN = /[\p{C}\u2028\u2029]/u;
const HIDDEN_RUN = /([\p{C}\u2028\u2029]+)/u;

/** Characters as they are shown: `^[` for a control character of ASCII, as in a terminal, else its number. */
function shown(characters: string): string {
  return Array.from(characters, (character) => {
    const code = character.codePointAt(0)!;
    return code < 0x20 || code === 0x7f ? `^${String.fromCodePoint(code ^ 0x40)}` : `\\u{${code.toString(16)}}`;
  }).join('');
}

/** The text cut into parts: those at odd places are hidden characters, as they are shown. */
export function partsOf(text: string): string[] {
  if (!HIDDEN.test(text)) return [text];
  return text.split(HIDDEN_RUN).map((part, i) => (i % 2 ? shown(part) : part));
}

/** Text that is safe in an attribute or a sentence. */
export const plain = (text: string) => partsOf(text).join('');

/** Words of a command, each one recognisable: a word with blanks or none at all stands in quotes. */
export function wordsLine(words: readonly string[]): string {
  return words.map((word) => (/^[\w@%+=:,./^~-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)).join(' ');
}

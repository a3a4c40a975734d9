/** Text of others that must not play with our terminal: the one door that it passes on its way out. */

/** Control characters, those that turn or hide text (all of Unicode's format characters), and other ends of lines. */
const CONTROL = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** Shows control characters instead of obeying them. What is one line stays one. */
export function escapeControl(text: string): string {
  return text.replace(CONTROL, (char) => {
    const code = char.codePointAt(0)!;
    if (code === 0x0a) return '\\n';
    if (code === 0x09) return '\\t';
    const hex = code.toString(16);
    if (code < 256) return `\\x${hex.padStart(2, '0')}`;
    return code < 0x1_0000 ? `\\u${hex.padStart(4, '0')}` : `\\u{${hex}}`;
  });
}

/** A value as JSON on one line, with nothing in it that a terminal would obey. It is read as the same value. */
export function jsonLine(value: unknown): string {
  const units = (text: string): string[] =>
    Array.from({ length: text.length }, (_, i) => text.charCodeAt(i).toString(16).padStart(4, '0'));
  return JSON.stringify(value).replace(CONTROL, (char) => units(char).reduce((all, unit) => `${all}\\u${unit}`, ''));
}

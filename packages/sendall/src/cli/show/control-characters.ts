/** Keeps text from others from controlling our terminal: all of it passes through here before it is printed. */

/** Control characters, characters that turn or hide text (all of Unicode's format characters), and other line ends. */
const CONTROL = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** Makes control characters visible and harmless. A single line stays a single line. */
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

/** A value as JSON on one line, safe to print on a terminal. It parses to the same value. */
export function jsonLine(value: unknown): string {
  const units = (text: string): string[] =>
    Array.from({ length: text.length }, (_, i) => text.charCodeAt(i).toString(16).padStart(4, '0'));
  return JSON.stringify(value).replace(CONTROL, (char) => units(char).reduce((all, unit) => `${all}\\u${unit}`, ''));
}

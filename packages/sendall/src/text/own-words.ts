/** The process's own arguments as bytes: Node replaces invalid UTF-8, but the kernel keeps it. */
import { readFileSync } from 'node:fs';

/** The words after the program's name. Without /proc, the UTF-8 of their text. */
export function ownWords(): Uint8Array[] {
  const asText = process.argv.slice(2).map((word) => Buffer.from(word));
  // Bytes can be lost only where a replacement character stands.
  if (!process.argv.some((word) => word.includes('\ufffd'))) return asText;
  try {
    const raw = readFileSync('/proc/self/cmdline');
    const words: Uint8Array[] = [];
    for (let start = 0; start < raw.length;) {
      const end = raw.indexOf(0, start);
      words.push(raw.subarray(start, end < 0 ? raw.length : end));
      start = end < 0 ? raw.length : end + 1;
    }
    return words.slice(words.length - asText.length);
  } catch {
    return asText;
  }
}

/**
 * How wide text is on a terminal. npm's string-width knows; loading it takes a moment, so we do so only for text beyond
 * ASCII.
 */

let measure: ((text: string) => number) | undefined;
/** Splits text into characters as people see them. Creating it takes a moment too, so it is made on demand. */
let segmenter: Intl.Segmenter | undefined;

const isPlain = (text: string): boolean => /^[ -~]*$/.test(text);

/** Call it before the widths of such text must be exact. Until then, non-ASCII characters count as wide. */
export async function learnWidths(texts: Iterable<string>): Promise<void> {
  if (measure) return;
  for (const text of texts) {
    if (isPlain(text)) continue;
    measure = (await import('string-width')).default;
    return;
  }
}

export function columnsOf(text: string): number {
  if (isPlain(text)) return text.length;
  return measure ? measure(text) : 2 * text.length;
}

/** The longest beginning of `text` that fits. */
export function fit(text: string, columns: number): string {
  if (isPlain(text)) return text.length > columns ? text.slice(0, columns) : text;
  let taken = 0;
  for (const { segment, index } of (segmenter ??= new Intl.Segmenter()).segment(text)) {
    taken += columnsOf(segment);
    if (taken > columns) return text.slice(0, index);
  }
  return text;
}

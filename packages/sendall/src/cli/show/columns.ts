/**
 * How wide text is on a terminal. npm's string-width knows; it is loaded when text beyond ASCII is to be shown, for that
 * takes a moment.
 */

let measure: ((text: string) => number) | undefined;
/** Characters as people see them; made when it is needed, for that takes a moment too. */
let segmenter: Intl.Segmenter | undefined;

const isPlain = (text: string): boolean => /^[ -~]*$/.test(text);

/** To be called before widths of such text have to be exact. Until then what is no ASCII counts as wide. */
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

/** As much of `text` as fits. */
export function fit(text: string, columns: number): string {
  if (isPlain(text)) return text.length > columns ? text.slice(0, columns) : text;
  let taken = 0;
  for (const { segment, index } of (segmenter ??= new Intl.Segmenter()).segment(text)) {
    taken += columnsOf(segment);
    if (taken > columns) return text.slice(0, index);
  }
  return text;
}

/** How wide text is on a terminal. Source: East Asian Width (Unicode TR 11), its wide and fullwidth ranges. */

/** Characters as people see them; made when it is needed, for that takes a moment. */
let segmenter: Intl.Segmenter | undefined;
const characters = (text: string) => (segmenter ??= new Intl.Segmenter()).segment(text);

const WIDE =
  /^(?:\p{Emoji_Presentation}|[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97c\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6]|[\u{1b000}-\u{1b2ff}\u{20000}-\u{3fffd}])/u;

const widthOf = (character: string): number => (WIDE.test(character) ? 2 : 1);

export function columnsOf(text: string): number {
  if (/^[ -~]*$/.test(text)) return text.length;
  let columns = 0;
  for (const { segment } of characters(text)) columns += widthOf(segment);
  return columns;
}

/** As much of `text` as fits. */
export function fit(text: string, columns: number): string {
  let taken = 0;
  for (const { segment, index } of characters(text)) {
    taken += widthOf(segment);
    if (taken > columns) return text.slice(0, index);
  }
  return text;
}

/** host.$`…`: a template to words, never through a shell. */
import { UsageError } from '../errors.js';
import { toBytes, type Word } from './options.js';

/** What may stand in ${…}: one word, or an array of words. */
export type Argument = Word | number | readonly (Word | number)[];

const word = (value: Word | number): Uint8Array => toBytes(typeof value === 'number' ? String(value) : value);

/**
 * Cuts the template's own text at white space. A value is one word whatever it contains, joined to text that touches
 * it; an array is several words, the first and last joined to what touches them. Quotes and `|;&$` mean nothing.
 */
export function templateWords(strings: TemplateStringsArray, values: readonly Argument[]): Uint8Array[] {
  const words: Uint8Array[][] = [];
  let open = false;
  const add = (piece: Uint8Array) => {
    if (open) words.at(-1)!.push(piece);
    else words.push([piece]);
    open = true;
  };
  strings.forEach((text, i) => {
    for (const piece of text.split(/(\s+)/)) {
      if (piece === '') continue;
      if (/^\s/.test(piece)) open = false;
      else add(Buffer.from(piece));
    }
    if (i >= values.length) return;
    const value = values[i]!;
    const list = Array.isArray(value) ? (value as readonly (Word | number)[]) : [value as Word | number];
    list.forEach((each, k) => {
      if (typeof each !== 'string' && typeof each !== 'number' && !(each instanceof Uint8Array))
        throw new UsageError(`\${…} number ${i + 1} is neither text, bytes, a number, nor an array of them`);
      if (k > 0) open = false;
      add(word(each));
    });
  });
  if (!words.length) throw new UsageError('there is no command in the template');
  return words.map((pieces) => (pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces)));
}

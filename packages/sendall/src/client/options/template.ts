/** host.$`…`: a template to words, never through a shell. */
import { UsageError } from '../../errors.js';
import { toBytes, type Word } from './options.js';
import { Secret } from './secret.js';
import { insertedBytes, isResult, type Result } from '../result/result.js';

type Single = Word | number | Result;

/** A value of ${…}: one word, or an array of words. A result stands for its stdout, without the final newline. */
export type Argument = Single | readonly Single[];

/**
 * The word for a value. `place` counts from 1.
 * @throws UsageError when it is wrong.
 */
function word(value: Single, place: number): Uint8Array {
  if (typeof value === 'number') return Buffer.from(String(value));
  if (typeof value === 'string' || value instanceof Uint8Array || (value as unknown) instanceof Secret)
    return toBytes(value as Word);
  if (!isResult(value))
    throw new UsageError(
      `\${…} number ${place} is not text, bytes, a number, the result of a run, nor an array of them: await a run before its result is used`,
    );
  const bytes = insertedBytes(value);
  if (bytes) return bytes;
  throw new UsageError(
    `\${…} number ${place} is a result without all of its stdout (${value.outcome}): it was not collected, or not all of it came`,
  );
}

/**
 * Splits the template's own text at white space. A value is always one word, joined to any text that touches it; an
 * array is several words, the first and last joined likewise. Quotes and `|;&$` have no meaning.
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
    const list = Array.isArray(value) ? (value as readonly Single[]) : [value as Single];
    list.forEach((each, k) => {
      const bytes = word(each, i + 1);
      if (k > 0) open = false;
      add(bytes);
    });
  });
  if (!words.length) throw new UsageError('there is no command in the template');
  return words.map((pieces) => (pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces)));
}

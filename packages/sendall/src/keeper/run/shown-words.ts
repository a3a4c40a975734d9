/** A command's words in listings and in the journal, cut to a bounded size. */
import type { Spec } from '../../protocol/messages.js';
import { startsOwnProgram } from '../../protocol/own-runs.js';

/** Bytes of words that are shown. */
const SHOWN = 2048;

const SHELL = [Buffer.from('sh'), Buffer.from('-c')];
const LOGIN = [Buffer.from('sh'), Buffer.from('-l')];

function cut(words: readonly Uint8Array[]): Uint8Array[] {
  const shown: Uint8Array[] = [];
  let left = SHOWN;
  for (const word of words) {
    if (left <= 0) break;
    // A copy: a view would keep the whole spec alive.
    shown.push(Uint8Array.from(word.subarray(0, left)));
    left -= word.length + 1;
  }
  return shown;
}

/** As listings show it: shell text too, while the spec is in memory. */
export function listedWords(spec: Spec): Uint8Array[] {
  const { verb, script } = spec;
  if (verb !== 'sh') return journalWords(spec);
  return cut(script!.length > 0 ? [...SHELL, script!] : LOGIN);
}

/** As the journal has it: without shell text, which may hold what must not stay on the disk. */
export function journalWords({ verb, argv }: Spec): Uint8Array[] {
  if (verb === 'sh') return cut(SHELL);
  // Our own program is known by its verb.
  return cut(startsOwnProgram({ verb }) ? [Buffer.from(verb), ...argv] : argv);
}

/** Linux takes so many bytes in one word or variable (MAX_ARG_STRLEN), however many it takes together (ARG_MAX). */
import { StartFailure } from './program.js';

/** 32 pages of 4 KiB, with the NUL behind the word. Where pages are larger, so is this. */
const MAX_ARG_STRLEN = 128 * 1024;
/** Bytes of shell text in one word. */
const PART = 120 * 1024;

/**
 * The words by which a shell runs this text. What is too long for one word comes in several, which the shell puts
 * together: its stdin stays the command's, and no file is needed.
 */
export function shellWords(script: Uint8Array): Uint8Array[] {
  const shell = [Buffer.from('sh'), Buffer.from('-c')];
  if (script.length < MAX_ARG_STRLEN) return [...shell, script];
  const parts: Uint8Array[] = [];
  for (let start = 0; start < script.length;) {
    let end = Math.min(start + PART, script.length);
    // Not inside a character, which has three bytes behind its first at most.
    for (let i = 0; i < 3 && end < script.length && (script[end]! & 0xc0) === 0x80; i++) end--;
    parts.push(script.subarray(start, end));
    start = end;
  }
  // Expanded before it runs; then the parts are no positional parameters any more, and the text begins on line 1.
  const text = `eval "shift ${parts.length}; ${parts.map((_, i) => `\${${i + 1}}`).join('')}"`;
  return [...shell, Buffer.from(text), Buffer.from('sh'), ...parts];
}

/** What the system did not take: one word or variable, or all of them together. */
export function tooLong(argv: readonly Uint8Array[], env: readonly Uint8Array[]): StartFailure {
  const most = `the system takes ${MAX_ARG_STRLEN - 1} in one (MAX_ARG_STRLEN)`;
  const word = argv.findIndex(({ length }) => length >= MAX_ARG_STRLEN);
  if (word >= 0)
    return new StartFailure(
      'limits',
      `argument ${word} is ${argv[word]!.length} bytes long, and ${most}: pass the data on stdin`,
    );
  const variable = env.find(({ length }) => length >= MAX_ARG_STRLEN);
  if (variable) {
    const [name] = Buffer.from(variable.subarray(0, 200)).toString().split('=', 1);
    return new StartFailure(
      'limits',
      `the variable ${JSON.stringify(name)} is ${variable.length} bytes long with its name, and ${most}: pass the data on stdin`,
    );
  }
  const sum = [...argv, ...env].reduce((bytes, { length }) => bytes + length + 1, 0);
  return new StartFailure(
    'limits',
    `the ${argv.length} words and ${env.length} variables are ${sum} bytes together, more than the system takes (ARG_MAX): pass the data on stdin`,
  );
}

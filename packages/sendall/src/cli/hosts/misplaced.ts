/** Handles a host's name given in place of a command: guesses the intended command line. */
import { AllHosts, resolveHome } from '../../index.js';

/** The command line that runs `words` on that host; undefined when no such host is known. */
export function misplacedHost(name: string, words: readonly string[]): string | undefined {
  if (name !== 'local' && !isKnown(name)) return undefined;
  return ['sendall', 'run', name, '--', ...(words.length ? words.map(inShell) : ['COMMAND'])].join(' ');
}

function isKnown(name: string): boolean {
  try {
    return AllHosts.of(resolveHome()).lastKnown.get(name) !== undefined;
  } catch {
    // A broken list of hosts is reported when it is needed.
    return false;
  }
}

/** A word quoted for a shell. */
const inShell = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;

/** A host's name where the name of a command belongs: what was most likely meant. */
import { KnownHosts, resolveHome } from '../../index.js';

/** The command line that runs `words` on that host; undefined when there is no such host. */
export function misplacedHost(name: string, words: readonly string[]): string | undefined {
  if (name !== 'local' && !isKnown(name)) return undefined;
  return ['sendall', 'run', name, '--', ...(words.length ? words.map(inShell) : ['COMMAND'])].join(' ');
}

function isKnown(name: string): boolean {
  try {
    return new KnownHosts(resolveHome()).get(name) !== undefined;
  } catch {
    // What is wrong with the hosts' file is told when it is needed.
    return false;
  }
}

/** A word as a shell takes it. */
const inShell = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;

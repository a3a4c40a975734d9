/** `sendall-ssh`: the command `sendall ssh` as a program of its own, for places that take one word. */
import { exit } from './leaving/exit.js';
import { keepIgnored } from './leaving/signals.js';
import { answer } from './show/print.js';
import { ssh } from './ssh/ssh.js';
import { ownVersion } from './version.js';
import { textOf } from './words/command.js';
import { ownWords } from '../internal.js';

async function main(words: readonly Uint8Array[]): Promise<number> {
  const first = words[0] && textOf(words[0]);
  if (first === '--version') answer(ownVersion());
  else if (first === '--help') (await import('./show/help.js')).helpOf((await import('./commands/ssh.js')).sshCommand);
  else return await ssh(words);
  return 0;
}

keepIgnored();
// Anything still open (a pipe on stdin, a socket) does not matter any more.
void main(ownWords()).then(exit);

/**
 * A command that goes to the account's own shell, as sshd starts it: its words, and the variables by which it and its
 * shell know where the caller is. Source: OpenSSH, session.c.
 */
import { basename } from 'node:path';
import type { Account } from '../system/environment.js';

/** What sshd says where its caller is not at the other end of a socket on the network. */
const NOT_TCP = 'UNKNOWN 65535 UNKNOWN 65535';

/**
 * The shell's words. Without a script it is a login shell, whose name begins with a dash; where another program starts it,
 * which gives it the name of its file (`renamed`), an option must do.
 */
export function accountShellWords({ shell }: Account, script: Uint8Array, renamed: boolean): Uint8Array[] {
  const name = basename(shell);
  if (script.length > 0) return [Buffer.from(name), Buffer.from('-c'), script];
  return (renamed ? [name, '-l'] : [`-${name}`]).map((word) => Buffer.from(word));
}

/** SSH_CLIENT is what bash looks for before it reads ~/.bashrc. `terminal`: the path of the command's own. */
export function sshVariables(connection = NOT_TCP, terminal?: string): Uint8Array[] {
  const [address, port, , ownPort] = connection.split(' ');
  const variables = [`SSH_CLIENT=${address} ${port} ${ownPort}`, `SSH_CONNECTION=${connection}`];
  if (terminal !== undefined) variables.push(`SSH_TTY=${terminal}`);
  return variables.map((variable) => Buffer.from(variable));
}

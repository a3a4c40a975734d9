/** The one subsystem that there is: the host's sftp-server, wherever its system keeps it. */
import { UsageError } from '../../errors.js';
import { textOf } from '../words/command.js';

/** Debian, the same before openssh had a folder there, Fedora, Alpine and Arch, macOS and the BSDs. */
const PLACES = [
  '/usr/lib/openssh/sftp-server',
  '/usr/lib/sftp-server',
  '/usr/libexec/openssh/sftp-server',
  '/usr/lib/ssh/sftp-server',
  '/usr/libexec/sftp-server',
];

/**
 * Shell text that becomes the sftp-server. It is for any shell of an account, so another one, which all systems have, looks
 * for it.
 * @throws UsageError for another subsystem, or a path that cannot be quoted for every shell.
 */
export function subsystemScript(words: readonly Uint8Array[], server: Uint8Array | undefined): Uint8Array {
  const name = words.map(textOf).join(' ');
  if (name !== 'sftp') throw new UsageError(`there is no subsystem "${name.slice(0, 80)}": there is sftp`);
  const path = server && textOf(server);
  // csh expands "!" between any quotes.
  if (path !== undefined && !/^[\w@%+=:,./ -]+$/.test(path))
    throw new UsageError(
      `--sftp-server: "${path.slice(0, 200)}" has characters that not every shell takes as they are`,
    );
  const places = path === undefined ? PLACES : [`"${path}"`];
  const missing =
    path === undefined
      ? 'sendall: this host has no sftp-server: install it, or say where it is with --sftp-server'
      : `sendall: ${path} cannot be executed`;
  return Buffer.from(
    `exec /bin/sh -c 'for p in ${places.join(' ')}; do if [ -x "$p" ]; then exec "$p"; fi; done; echo "${missing}" >&2; exit 255'`,
  );
}

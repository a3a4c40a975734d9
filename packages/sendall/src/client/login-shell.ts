/** The account's own shell, as a login shell. */

/**
 * Shell text that becomes the account's own shell, started as a login shell: its name begins with a dash ("-bash"), which
 * profiles and people look for. POSIX /bin/sh cannot start a program under another name than its file's; if no shell on
 * the host can, `-l` must do.
 */
export const LOGIN_SHELL =
  's=${SHELL:-/bin/sh}; h=$(command -v bash || command -v zsh) && ' +
  'exec "$h" -c \'exec -a "-${0##*/}" "$0"\' "$s"; exec "$s" -l';

#!/usr/bin/env sh
':' /* sh reads this part, Node the rest.
# At its start, Node resets ignored signals, raises the soft limit of open files and opens closed descriptors, all before
# any JavaScript runs. So sh looks first, without starting another process, and passes on what it saw.
SENDALL_START=
true 2>/dev/null 3<&0 || SENDALL_START="$SENDALL_START closed=0"
true 2>/dev/null 3>&1 || SENDALL_START="$SENDALL_START closed=1"
true 3>&2 || SENDALL_START="$SENDALL_START closed=2"
{
  while read -r _k _v _; do
    case $_k in SigIgn:) SENDALL_START="$SENDALL_START sigign=$_v" && break ;; esac
  done </proc/self/status
  while read -r _k _ _v _soft _hard _; do
    case $_k$_v in Maxfiles) SENDALL_START="$SENDALL_START nofile=$_soft" && break ;; esac
  done </proc/self/limits
} 2>/dev/null
# With too few files Node dies at its start, with a stack trace or silently; it uses as many as the hard limit allows.
[ "$_hard" -lt 20 ] 2>/dev/null && {
  echo "sendall: this process may open $_hard files, too few for Node.js: raise the limit, for example with \"ulimit -n 1024\"" >&2
  exit 255
}
export SENDALL_START
command -v node >/dev/null || { echo "sendall: there is no node on the PATH: install Node.js 20.19 or newer" >&2; exit 255; }
# It lives for one stream of short-lived chunks: threads that help to collect them cost more than they save.
exec node --single-threaded-gc "$0" "$@"
*/
'use strict';
// Starts `sendall ssh` from a bundle of its own; see sendall.js.
const { join } = require('node:path');
const { loadBundle } = require('./compiled.js');

// What it starts in the background is a command of sendall.
process.argv[1] = join(__dirname, 'sendall.js');
if (!loadBundle('ssh-bundle', () => true)) void import('../dist/cli/sendall-ssh.js');

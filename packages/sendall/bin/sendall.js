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
  exit 1
}
export SENDALL_START
command -v node >/dev/null || { echo "sendall: there is no node on the PATH: install Node.js 20.19 or newer" >&2; exit 127; }
exec node "$0" "$@"
*/
'use strict';
// Starts the command line from its bundle, which reads few files, with code compiled by an earlier start. CommonJS,
// because Node's loader of ES modules alone costs several milliseconds.
const { loadBundle } = require('./compiled.js');

// After a successful command the code it needs is compiled, and only that is worth keeping.
const isWorthKeeping = () => ['run', 'sh'].includes(process.argv[2]);
if (!loadBundle('cli-bundle', isWorthKeeping)) void import('../dist/cli/main.js');

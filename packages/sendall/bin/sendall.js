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
const { statSync } = require('node:fs');
const { join } = require('node:path');
const { loadCompiled } = require('./compiled.js');

const dist = join(__dirname, '../dist');

/** @param {string} path */
const changedAt = (path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;

/** In a checkout the modules may have been built after the bundle. */
const isBundleFresh = () => {
  const bundled = changedAt(join(dist, 'cli-bundle/main.cjs'));
  const built = [dist, join(__dirname, '../../framing/dist')].map((each) => changedAt(join(each, '.tsbuildinfo')));
  return bundled > 0 && built.every((time) => bundled >= time);
};

if (isBundleFresh()) {
  const bundle = join(dist, 'cli-bundle');
  const keep = loadCompiled(join(bundle, 'core.cjs'));
  // After a successful command the code it needs is compiled, and only that is worth keeping.
  if (keep && ['run', 'sh'].includes(process.argv[2]))
    process.once('exit', (code) => {
      if (code === 0) keep();
    });
  require(join(bundle, 'main.cjs'));
} else void import('../dist/cli/main.js');

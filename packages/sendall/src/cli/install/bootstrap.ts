/**
 * The shell half of an installation. It needs sh, head, tar and gzip, says what the machine is, and unpacks what comes
 * over stdin. Node.js and `sendall settle` do the rest. What it has unpacked, it removes again, unless an
 * installation's record says otherwise at its end: however it ends, nothing is half there.
 */
import { MARK } from './dialogue.js';
import { PROGRAM } from './layout.js';

/** Where a user's installation is, and the system's; shell text. */
const ROOTS = { user: '"$HOME/.local/lib/sendall"', system: '/usr/local/lib/sendall' };

const TEXT = `
tell() { printf '%s %s\\n' '${MARK}' "$*"; }
trap : PIPE
root=@ROOT@
locked= copied= settled=
base=$(dirname "$root")
while [ ! -d "$base" ]; do base=$(dirname "$base"); done

clean() {
  rm -rf "$root"/versions/.new-* "$root"/nodes/.new-*
  [ -n "$settled" ] || for each in $copied; do rm -rf "$root/$each"; done
  if [ ! -f "$root/installation.json" ]; then
    for each in versions nodes bin current; do rm -rf "$root/$each"; done
    rm -f "$root"/installation.json.* "$root"/current.*
  fi
  rm -f "$root/.installing"
  rmdir "$root/versions" "$root/nodes" "$root"
  each=$root
  while [ ! -d "$each" ] && each=$(dirname "$each") && [ "$each" != "$base" ]; do rmdir "$each" || break; done
}
finish() {
  trap - EXIT
  [ -z "$locked" ] || clean 2>/dev/null
  [ ! -d "$root" ] || [ -f "$root/installation.json" ] || [ -z "$locked" ] || tell "left $root"
  tell over
}
trap finish EXIT
trap 'exit 1' HUP INT TERM

fail() {
  tell "failed $(printf '%s\\n' "$1" | head -n 1)"
  exit 1
}
begin() {
  why=$( (umask 022; mkdir -p "$root/versions" "$root/nodes") 2>&1) || { rmdir "$root/versions" "$root" 2>/dev/null; fail "$why"; }
  if ! why=$(ln -s $$ "$root/.installing" 2>&1); then
    owner=$(readlink "$root/.installing")
    [ -n "$owner" ] || fail "$why"
    if kill -0 "$owner" 2>/dev/null; then fail "another installation (pid $owner) is under way there"; fi
    rm -f "$root/.installing"
    ln -s $$ "$root/.installing" || fail "another installation is under way there"
  fi
  locked=yes
  rm -rf "$root"/versions/.new-* "$root"/nodes/.new-*
  tell begun
}
copy() {
  new=$root/$1/.new-$2
  why=$( (umask 022; mkdir "$new") 2>&1) || fail "$why"
  tell go
  why=$(head -c "$3" | (umask 022; tar -xzf - -C "$new") 2>&1) || fail "$why"
  why=$(mv "$new" "$root/$1/$2" 2>&1) || fail "$why"
  copied="$copied $1/$2"
  tell copied
}
settle() {
  why=$("$2" --version 2>&1) || fail "$2 does not run there: $why"
  tell settling
  PATH=\${2%/*}:$PATH sh "$root/versions/$1/${PROGRAM}" settle || exit 1
  settled=yes
}

tell "system $(uname -s) $(uname -m)"
libc=glibc
for each in /lib/ld-musl-*; do [ ! -e "$each" ] || libc=musl; done
tell "libc $libc"
tell "user $(id -un)"
tell "root $root"
for each in head tar gzip; do command -v $each >/dev/null || tell "lacks $each"; done
for each in "$(command -v node)" /usr/local/bin/node /usr/bin/node "$HOME/.local/bin/node" "$root"/nodes/*/bin/node; do
  [ -x "$each" ] && "$each" -p "'${MARK} node '+process.versions.node+' '+process.execPath" 2>/dev/null
done
for each in "$root"/versions/* "$root"/nodes/*; do [ ! -d "$each" ] || tell "has \${each#"$root/"}"; done
[ ! -f "$root/installation.json" ] || tell "record $(head -c 8192 "$root/installation.json")"
set -- $(df -Pk "$base" | tail -n 1)
tell "free $4 $base"
tell ready
while read -r verb a b c; do
  case $verb in
    begin) begin ;;
    copy) copy "$a" "$b" "$c" ;;
    settle) settle "$a" "$b\${c:+ $c}" ;;
    *) exit ;;
  esac
done
`;

/** The command for ssh, and what stdin begins with. */
export interface Bootstrap {
  readonly command: string;
  readonly script: Buffer;
}

/**
 * The login shell may be any: it sees one line of words in single quotes, without the characters that csh and fish take
 * for their own. sh then reads as many bytes as the script has, so stdin goes on behind it.
 */
export function bootstrap(system: boolean): Bootstrap {
  const script = Buffer.from(TEXT.replace('@ROOT@', system ? ROOTS.system : ROOTS.user));
  const read = `dd bs=1 count=${script.length} 2>/dev/null`;
  const run = `sh -c "eval \\"\\$(${read})\\""`;
  const asRoot = `if test "$(id -u)" = 0; then exec ${run}; else exec sudo -n -H ${run}; fi`;
  return { command: system ? `exec sh -c '${asRoot}'` : `exec sh -c 'eval "$(${read})"'`, script };
}

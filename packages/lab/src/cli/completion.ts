/** Completion: the shells' scripts, which call `wirelab complete`, and its answers. */
import type { Command, Option } from './command.js';

/** Printed by `complete` to let the shell complete file names itself. */
const FILES = ':file';

export const SCRIPTS: Readonly<Record<string, string>> = {
  bash: `_wirelab() {
  local line
  COMPREPLY=()
  while IFS= read -r line; do
    if [ "$line" = "${FILES}" ]; then compopt -o default; else COMPREPLY+=("$line"); fi
  done < <(wirelab complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _wirelab wirelab
`,
  zsh: `#compdef wirelab
_wirelab() {
  local -a found
  found=("\${(@f)$(wirelab complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ "\${found[*]}" == "${FILES}" ]]; then compset -P '--*='; _files; else compadd -- $found; fi
}
compdef _wirelab wirelab
`,
  fish: `function __wirelab_complete
  set -l words (commandline -opc) (commandline -ct)
  set -l found (wirelab complete -- $words[2..-1] 2>/dev/null)
  if test "$found" = "${FILES}"
    set -l option (string match -r -- '^--[^=]*=' (commandline -ct))
    for path in (__fish_complete_path (string replace -r -- '^--[^=]*=' '' (commandline -ct)))
      printf '%s%s\\n' "$option" $path
    end
  else
    printf '%s\\n' $found
  end
end
complete -c wirelab -f -a '(__wirelab_complete)'
`,
};

/** The possible completions of the last word. */
export function complete(commands: readonly Command[], words: readonly string[]): string[] {
  const last = words.at(-1) ?? '';
  const found = candidates(commands, words.slice(0, -1), last);
  return found.filter((each) => each === FILES || last === '=' || each.startsWith(last));
}

function candidates(commands: readonly Command[], before: readonly string[], last: string): readonly string[] {
  if (before.length === 0) return [...commands.map(({ name }) => name), '--help', '--version'];
  const command = commands.find(({ name }) => name === before[0]);
  if (!command) return [FILES];
  if (before.includes('--')) return [];
  const option = optionNamed(command, before.at(-1)!);
  if (option?.value !== undefined) return valuesOf(option.complete);
  // bash splits --lang=zh into three words.
  const [first, equals] = last === '=' ? [before.at(-1)!, last] : before.slice(-2);
  if (equals === '=') return valuesOf(optionNamed(command, first!)?.complete);
  const assigned = /^--[^=]+=/.exec(last)?.[0];
  if (assigned !== undefined) {
    const values = valuesOf(optionNamed(command, assigned.slice(0, -1))?.complete);
    return values.map((value) => (value === FILES ? value : assigned + value));
  }
  if (last.startsWith('-')) return [...Object.keys(command.options).map((name) => `--${name}`), '--help'];
  const asked = before.slice(1).filter((word) => !word.startsWith('-'));
  return asked.length === 0 ? valuesOf(command.complete) : [];
}

function optionNamed(command: Command, word: string): Option | undefined {
  const name = word.replace(/^--/, '');
  return word.startsWith('--') && Object.hasOwn(command.options, name) ? command.options[name] : undefined;
}

function valuesOf(kind: Option['complete']): readonly string[] {
  return kind === 'file' ? [FILES] : (kind ?? []);
}

/** Completion scripts. They ask `sendall complete`, so that host names and run ids are always the present ones. */
import { UsageError } from '../../errors.js';
import { resolveHome } from '../../home.js';
import { KnownHosts } from '../../index.js';
import type { Command, Option } from '../command.js';

const SCRIPTS: Record<string, string> = {
  bash: `_sendall() {
  local IFS=$'\\n'
  COMPREPLY=($(sendall complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
  case "\${COMPREPLY[*]}" in :file) COMPREPLY=(); compopt -o default ;; esac
}
complete -F _sendall sendall
`,
  zsh: `#compdef sendall
_sendall() {
  local -a found
  found=("\${(@f)$(sendall complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ "\${found[*]}" == ":file" ]]; then _files; else compadd -- $found; fi
}
compdef _sendall sendall
`,
  fish: `function __sendall_complete
  set -l words (commandline -opc) (commandline -ct)
  set -l found (sendall complete -- $words[2..-1] 2>/dev/null)
  if test "$found" = ":file"; __fish_complete_path (commandline -ct); else; printf '%s\\n' $found; end
end
complete -c sendall -f -a '(__sendall_complete)'
`,
};

export const completion: Command = {
  name: 'completion',
  usage: 'bash | zsh | fish',
  summary: 'print a completion script for your shell',
  examples: ['source <(sendall completion bash)'],
  options: {},
  subcommands: Object.keys(SCRIPTS),
  run(args) {
    const script = SCRIPTS[args.words[0] ?? ''];
    if (!script) throw new UsageError(`completion knows ${Object.keys(SCRIPTS).join(', ')}: sendall completion bash`);
    process.stdout.write(script);
    return Promise.resolve(0);
  },
};

/** Prints what may stand where the last word is; ":file" leaves it to the shell. */
export function completeCommand(commands: () => Promise<readonly Command[]>): Command {
  return {
    name: 'complete',
    usage: '-- WORDS…',
    summary: '',
    examples: [],
    options: {},
    async run(args) {
      const words = (args.rest ?? []).map((word) => Buffer.from(word).toString());
      const last = words.at(-1) ?? '';
      const found = await candidates(await commands(), words.slice(0, -1), last);
      if (found.length)
        process.stdout.write(`${found.filter((each) => each.startsWith(last) || each === ':file').join('\n')}\n`);
      return 0;
    },
  };
}

async function candidates(commands: readonly Command[], before: readonly string[], last: string): Promise<string[]> {
  const command = commands.find(({ name }) => name === before[0]);
  if (before.length === 0) return commands.map(({ name }) => name);
  if (!command || before.includes('--')) return [':file'];
  const option = optionNamed(command, before.at(-1)!);
  if (option?.value && !option.optionalValue) return valuesOf(option.complete);
  if (last.startsWith('-')) return Object.keys(command.options).map((name) => `--${name}`);
  const words = before.slice(1).filter((word) => !word.startsWith('-'));
  if (words.length === 0 && command.subcommands) return [...command.subcommands];
  return valuesOf(command.complete);
}

function optionNamed(command: Command, word: string): Option | undefined {
  return Object.entries(command.options).find(([name, { short }]) => word === `--${name}` || word === `-${short}`)?.[1];
}

async function valuesOf(kind: Option['complete']): Promise<string[]> {
  if (Array.isArray(kind)) return [...(kind as readonly string[])];
  if (kind === 'host') return ['local', ...new KnownHosts(resolveHome()).list().map(({ name }) => name)];
  if (kind === 'run') return (await import('../history.js')).knownRuns();
  return [':file'];
}

/** Completion scripts. They call `sendall complete`, so host names and run ids are always current. */
import { UsageError } from '../../errors.js';
import { resolveHome } from '../../home.js';
import { AllHosts } from '../../index.js';
import { ALL_LIMITS, Callers, HostWords, identityNames, selections } from '../../internal.js';
import { flagOf, notAVerb, type Command, type Option } from '../words/command.js';
import { limitNames } from '../words/limit-words.js';
import { knownRuns } from '../hosts/history.js';
import { answer } from '../show/print.js';

/** Printed by `complete` to let the shell complete file names itself. */
const FILES = ':file';

/** The signals people usually send. */
const SIGNALS = ['HUP', 'INT', 'QUIT', 'KILL', 'TERM', 'USR1', 'USR2', 'STOP', 'CONT', 'WINCH', 'RTMIN', 'RTMAX'];

const SCRIPTS: Readonly<Record<string, string>> = {
  bash: `_sendall() {
  local line first=()
  COMPREPLY=()
  [ "\${1##*/}" = sendall-ssh ] && first=(ssh)
  while IFS= read -r line; do
    if [ "$line" = "${FILES}" ]; then compopt -o default; else COMPREPLY+=("$line"); fi
  done < <(sendall complete -- "\${first[@]}" "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _sendall sendall
complete -F _sendall sendall-ssh
`,
  zsh: `#compdef sendall sendall-ssh
_sendall() {
  local -a found first
  [[ "\${words[1]:t}" == sendall-ssh ]] && first=(ssh)
  found=("\${(@f)$(sendall complete -- $first "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ "\${found[*]}" == "${FILES}" ]]; then compset -P '--*='; _files; else compadd -- $found; fi
}
compdef _sendall sendall sendall-ssh
`,
  fish: `function __sendall_complete
  set -l words (commandline -opc) (commandline -ct)
  set -l found (sendall complete -- $argv $words[2..-1] 2>/dev/null)
  if test "$found" = "${FILES}"
    set -l option (string match -r -- '^--[^=]*=' (commandline -ct))
    for path in (__fish_complete_path (string replace -r -- '^--[^=]*=' '' (commandline -ct)))
      printf '%s%s\\n' "$option" $path
    end
  else
    printf '%s\\n' $found
  end
end
complete -c sendall -f -a '(__sendall_complete)'
complete -c sendall-ssh -f -a '(__sendall_complete ssh)'
`,
};

export const completion: Command = {
  name: 'completion',
  usage: 'bash | zsh | fish',
  summary: 'print a completion script for your shell',
  examples: ['source <(sendall completion bash)', 'sendall completion fish > ~/.config/fish/completions/sendall.fish'],
  options: {},
  subcommands: Object.keys(SCRIPTS),
  run(args) {
    const [name] = args.words;
    if (name === undefined)
      throw new UsageError(`completion needs a shell, ${Object.keys(SCRIPTS).join(', ')}: sendall completion bash`);
    const script = Object.hasOwn(SCRIPTS, name) ? SCRIPTS[name] : undefined;
    if (!script) throw notAVerb('completion', name, Object.keys(SCRIPTS));
    answer(...script.trimEnd().split('\n'));
    return Promise.resolve(0);
  },
};

/** Prints the possible completions of the last word. */
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
      const found = candidates(await commands(), words.slice(0, -1), last);
      const fitting = found.filter((each) => each === FILES || last === '=' || each.startsWith(last));
      answer(...fitting);
      return 0;
    },
  };
}

function candidates(commands: readonly Command[], before: readonly string[], last: string): readonly string[] {
  // It may stand before the command.
  if (before[0] === '--identity') {
    if (before.length === 1) return identityNames(resolveHome());
    return candidates(commands, before.slice(2), last);
  }
  if (before[0]?.startsWith('--identity=')) return candidates(commands, before.slice(1), last);
  if (before.length === 0) return [...commands.map(({ name }) => name), '--identity', '--help', '--version'];
  const command = commands.find(({ name }) => name === before[0]);
  if (!command || before.includes('--')) return [FILES];
  const option = optionNamed(command, before.at(-1)!);
  if (option?.value && !option.optionalValue) return valuesOf(option.complete, last);
  // bash splits --stdin=FILE into three words.
  const [first, equals] = last === '=' ? [before.at(-1)!, last] : before.slice(-2);
  if (equals === '=') return valuesOf(optionNamed(command, first!)?.complete, last === '=' ? '' : last);
  const assigned = /^--[^=]+=/.exec(last)?.[0];
  if (assigned) {
    const values = valuesOf(optionNamed(command, assigned.slice(0, -1))?.complete, last.slice(assigned.length));
    return values.map((value) => (value === FILES ? value : assigned + value));
  }
  if (last.startsWith('-')) return [...Object.keys(command.options).map(flagOf), '--help'];
  const words = before.slice(1).filter((word) => !word.startsWith('-'));
  if (words.length === 0 && command.subcommands) return command.subcommands;
  // Behind its host, another program's command line begins.
  if (command.complete === 'destination' && words.length > 0) return [FILES];
  const places = command.completePlaces?.[words[0]!];
  if (places) return words.length > places.length ? [] : valuesOf(places[words.length - 1], last);
  return valuesOf(command.completeAfter?.[words[0]!] ?? command.complete, last);
}

function optionNamed(command: Command, word: string): Option | undefined {
  return Object.entries(command.options).find(
    ([name, { short }]) => word === flagOf(name) || word === `-${short}`,
  )?.[1];
}

function valuesOf(kind: Option['complete'] | Command['complete'], last: string): readonly string[] {
  if (kind === 'host') return hostsAfter(last);
  if (kind === 'destination') return destinationsAfter(last);
  if (kind === 'place') return placesFor(last);
  if (kind === 'identity') return identityNames(resolveHome());
  if (kind === 'run') return knownRuns();
  if (kind === 'selection')
    return selections.flatMap((word) => knownRuns({ sets: true }).map((run) => `${word}:${run}`));
  if (kind === 'signal') return SIGNALS;
  if (kind === 'principal') return principals();
  if (kind === 'limit') return limitsAfter(last);
  if (kind === 'agent-limit') return last.includes('=') ? [] : ALL_LIMITS.map(({ name }) => `${name}=`);
  return typeof kind === 'object' ? kind : [FILES];
}

/** Files here, or hosts: `web1:`. Paths on a host are not looked up. */
function placesFor(last: string): readonly string[] {
  const hosts = last === '' || /[/:]/.test(last) ? [] : hostsAfter(last).filter((name) => name.startsWith(last));
  return hosts.length ? hosts.map((name) => `${name}:`) : [FILES];
}

/** Who may call this machine, and what a rule names them by; none where that cannot be read. */
function principals(): string[] {
  try {
    return [...new Set(new Callers(resolveHome()).list().map(({ principal }) => principal))];
  } catch {
    return [];
  }
}

/** Names of limits that are not there yet. */
function limitsAfter(last: string): string[] {
  const begun = /^.*,/.exec(last)?.[0] ?? '';
  if (last.includes('=', begun.length)) return [];
  const there = begun.split(',').map((each) => each.split('=', 1)[0]);
  return limitNames.filter((name) => !there.includes(name)).map((name) => `${begun}${name}=`);
}

/** Host names, or groups after "@"; in a set, those that complete its last word. */
function hostsAfter(last: string): string[] {
  const begun = /^.*[,!&^]/.exec(last)?.[0] ?? '';
  const names = last.startsWith('@', begun.length) ? new HostWords(knownHosts()).groups() : knownNames();
  return names.map((name) => begun + name);
}

/** Hosts, behind a user's name. */
function destinationsAfter(last: string): string[] {
  const user = /^.*@/.exec(last)?.[0] ?? '';
  const names = knownHosts()
    .list()
    .map(({ name }) => name);
  return ['local', ...names].map((name) => user + name);
}

function knownNames(): string[] {
  const known = knownHosts().list();
  return ['local', 'all', ...known.map(({ name }) => name)];
}

/** A shell waits for us at each key, so no program runs: their last answers must do. */
function knownHosts() {
  return AllHosts.of(resolveHome()).lastKnown;
}

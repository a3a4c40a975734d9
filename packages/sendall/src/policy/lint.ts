/** What a policy grants beyond its words, and what in it can never matter: findings for its author to judge. */
import { printable } from '../text/printable.js';
import { changeableFolder, linkOn } from './folders.js';
import { expansionOf, launchesOf, type Launch } from './launchers.js';
import { accountOf } from './match.js';
import { bytesOfWord, folderOf, matches, pathText, wordOfText, type Pattern, type Word } from './patterns.js';
import type { LintMachine } from './request.js';
import { basenameOf, MOVES, STARTS, type Policy, type Rule, type Variable } from './rules.js';

/** What kind of finding it is. */
export type FindingKind =
  /** The program starts others, and the caller chooses which. */
  | 'launches'
  /** The program makes more of a word than `like` says. */
  | 'expands'
  /** Others can change where a path leads. */
  | 'changeable-path'
  /** Several principals run commands as one account. */
  | 'shared-account'
  /** A group of the account is as good as root. */
  | 'powerful-group'
  /** Shell text can be anything. */
  | 'shell-text'
  /** It runs as root, and the promise rests on the program. */
  | 'trust'
  /** No request can match the rule. */
  | 'never';

export interface Finding {
  readonly rule: string;
  readonly line: number;
  readonly kind: FindingKind;
  readonly what: string;
}

/** Groups whose members can become root. Sources: the documentation of docker and lxd; Debian's wiki on system groups. */
const powerful = new Set(
  'root docker lxd incus incus-admin disk kmem shadow sudo wheel admin libvirt podman systemd-journal adm'.split(' '),
);
/** Rules for one program that are compared with each other. */
const MAX_COMPARED = 1000;

/** Whether something runs by a rule: a command, or our own program that moves files. */
const runsSomething = (rule: Rule): boolean => [...STARTS, ...MOVES].some((verb) => rule.verbs.has(verb));
const hasTerminal = (rule: Rule): boolean => rule.pty || rule.verbs.has('pty');
const isExact = (pattern: Pattern): boolean => pattern.kind === 'literal' || pattern.kind === 'one-of';
const patternsOf = (rule: Rule): readonly Pattern[] => (rule.rest ? [...rule.args, rule.rest.each] : rule.args);
const shown = (word: Word): string => printable(bytesOfWord(word).toString(), 200);

/** Looks at all rules. The findings come in the order of the file. */
export function lint(policy: Policy, machine: LintMachine): Finding[] {
  const findings: Finding[] = [];
  const found = ({ id, line }: Rule, kind: FindingKind, what: string) =>
    void findings.push({ rule: id, line, kind, what });
  for (const rule of policy.rules.filter(runsSomething)) {
    const impossible = whyNever(rule, machine);
    if (impossible !== undefined) found(rule, 'never', impossible);
    if (rule.paths.length) for (const [kind, what] of fileFindings(rule, machine)) found(rule, kind, what);
    else if (rule.program === undefined)
      found(rule, 'shell-text', `shell text can start anything that ${rule.runAs ?? 'the account'} may start`);
    else for (const [kind, what] of programFindings(rule, rule.program)) found(rule, kind, what);
    for (const [kind, what] of accountFindings(rule, machine)) found(rule, kind, what);
  }
  for (const [rule, by] of shadowed(policy.rules))
    found(rule, 'never', `${by.id} (line ${by.line}) allows all that this rule allows, and comes first`);
  for (const [rule, what] of shared(policy.rules, machine)) found(rule, 'shared-account', what);
  return findings.sort((a, b) => a.line - b.line);
}

function whyNever(rule: Rule, machine: LintMachine): string | undefined {
  if (machine.uid !== 0) return 'this agent is not root, so it serves owners only';
  const account = accountOf(rule, machine);
  if (typeof account === 'string') return account;
  if (rule.program === undefined) return undefined;
  const program = machine.program(rule.program);
  return 'problem' in program ? program.problem : undefined;
}

type Found = readonly [FindingKind, string];

function programFindings(rule: Rule, program: Word): Found[] {
  const name = basenameOf(program);
  const found = launchesOf(name).flatMap((launch): Found[] => {
    const why = whyLaunches(launch, rule);
    return why === undefined ? [] : [['launches', `${shown(name)} ${why} (${launch.class})`]];
  });
  const expansion = expansionOf(name);
  if (expansion !== undefined && patternsOf(rule).some(({ kind }) => kind === 'like'))
    found.push(['expands', `like for ${name}: ${expansion}. Write one-of`]);
  if (rule.trustsProgram)
    found.push([
      'trust',
      `it runs as ${rule.runAs}: that the caller cannot become root rests on ${shown(program)} alone`,
    ]);
  return found;
}

/** Files by which the programs of an account do something, in its home. */
const START_UP = ['.ssh/authorized_keys', '.bashrc', '.profile', '.config/systemd/user/x.service'];

/** What a rule about files grants beyond its words. */
function fileFindings({ verbs, paths, runAs = '' }: Rule, machine: LintMachine): Found[] {
  const found = paths.flatMap((path): Found[] => {
    const link = linkOn(folderOf(path));
    return link === undefined
      ? []
      : [['never', `path ${shown(pathText(path))}: ${link} is a link, and files are reached through none`]];
  });
  const home = machine.account(runAs)?.home;
  if (!verbs.has('put') || home === undefined) return found;
  const file = START_UP.find((name) => paths.some((path) => matches(path, wordOfText(`${home}/${name}`))));
  if (file !== undefined)
    found.push([
      'launches',
      `put may write ${home}/${file}, and so start programs as ${runAs}: name folders below ${home}`,
    ]);
  return found;
}

/** How this rule lets a caller use what a program can start; undefined: it does not. */
function whyLaunches(launch: Launch, rule: Rule): string | undefined {
  const patterns = patternsOf(rule);
  if (launch.by) {
    const option = launch.by.find((each) => patterns.some((pattern) => couldBe(pattern, each)));
    if (option === undefined) return undefined;
    return launch.class === 'file-write'
      ? `writes files with ${option}, which this rule lets through`
      : `starts or loads other code with ${option}, which this rule lets through`;
  }
  if (launch.class === 'inherit')
    return hasTerminal(rule)
      ? 'can start a shell, an editor or a pager on the terminal that this rule allows'
      : undefined;
  if (launch.class === 'file-write')
    return patterns.every(isExact) ? undefined : 'writes the files that its words name, and the caller chooses some';
  if (patterns.every(isExact) && !rule.stdin && !hasTerminal(rule)) return undefined;
  return launch.class === 'shell'
    ? 'runs what its words, its files or its stdin say, and the caller has a part in them'
    : 'starts the program that its words or its files name, and the caller has a part in them';
}

/** Whether a pattern lets an option or a subcommand through. */
function couldBe(pattern: Pattern, option: Word): boolean {
  switch (pattern.kind) {
    case 'literal':
      return isOption(pattern.word, option);
    case 'one-of':
      return [...pattern.words].some((word) => isOption(word, option));
    case 'like': {
      const { start } = pattern;
      if (!option.startsWith('-')) return matches(pattern, option) || matches(pattern, `${option}=x`);
      return start.startsWith('-') && (option.startsWith(start) || start.startsWith(option));
    }
    default:
      return false;
  }
}

/** -x alone, with its value, or among other letters; --long and its value; a word, or word=value. */
function isOption(word: Word, option: Word): boolean {
  if (word === option || word.startsWith(`${option}=`)) return true;
  const letter = /^-([A-Za-z])$/.exec(option)?.[1];
  return letter !== undefined && new RegExp(`^-[A-Za-z]*${letter}`).test(word);
}

function accountFindings(rule: Rule, machine: LintMachine): Found[] {
  if (rule.runAs === undefined) return [];
  const account = machine.account(rule.runAs);
  if (!account) return [];
  const found: Found[] = [];
  const groups = account.uid === 0 ? [] : machine.groups(account.name).filter((group) => powerful.has(group));
  if (groups.length)
    found.push([
      'powerful-group',
      `${account.name} is in the ${groups.length > 1 ? 'groups' : 'group'} ${groups.join(', ')}, which can make it root or read what root reads`,
    ]);
  const trusted = new Set([0, account.uid]);
  for (const pattern of patternsOf(rule)) {
    if (pattern.kind !== 'path') continue;
    const isWide = pattern.deep || pattern.parts.some((part) => /[*?]/.test(part));
    const why = changeableFolder(folderOf(pattern), isWide, trusted);
    if (why !== undefined)
      found.push([
        'changeable-path',
        `path ${shown(pathText(pattern))}: ${why}, so others can make a path there lead anywhere`,
      ]);
  }
  return found;
}

/** Accounts for which several principals run commands: a process may look into others of its user, and control them. */
function shared(rules: readonly Rule[], machine: LintMachine): [Rule, string][] {
  const byUid = new Map<number, { name: string; first: Rule; who: Set<string> }>();
  for (const rule of rules.filter(runsSomething)) {
    const account = rule.runAs === undefined ? undefined : machine.account(rule.runAs);
    // Of a trusted program the caller chooses nothing.
    if (!account || rule.trustsProgram) continue;
    const entry = byUid.get(account.uid) ?? { name: account.name, first: rule, who: new Set() };
    byUid.set(account.uid, entry);
    for (const name of rule.principals) entry.who.add(name);
    for (const role of rule.roles) entry.who.add(`role:${role}`);
  }
  return [...byUid.values()]
    .filter(({ who }) => who.size > 1)
    .map(({ name, first, who }) => [
      first,
      `${[...who].join(', ')} run commands as ${name}: their commands can read and control each other (ptrace)`,
    ]);
}

/** Rules behind one that allows as much. */
function shadowed(rules: readonly Rule[]): [Rule, Rule][] {
  const groups = new Map<Word | undefined, Rule[]>();
  for (const rule of rules) {
    // Those about files are compared with each other.
    const key = rule.paths.length ? '' : rule.program;
    groups.set(key, [...(groups.get(key) ?? []), rule]);
  }
  return [...groups.values()].flatMap((group) =>
    group.slice(0, MAX_COMPARED).flatMap((rule, i): [Rule, Rule][] => {
      const by = group.slice(0, i).find((earlier) => covers(earlier, rule));
      return by ? [[rule, by]] : [];
    }),
  );
}

const isSubset = <T>(few: ReadonlySet<T>, many: ReadonlySet<T>): boolean => [...few].every((item) => many.has(item));

/** Whether `a` allows all that `b` allows. */
function covers(a: Rule, b: Rule): boolean {
  return (
    isSubset(b.principals, a.principals) &&
    isSubset(b.roles, a.roles) &&
    isSubset(b.verbs, a.verbs) &&
    a.runAs === b.runAs &&
    coversWords(a, b) &&
    b.env.every((variable) => a.env.some((each) => coversVariable(each, variable))) &&
    b.cwd.every((folder) => a.cwd.includes(folder)) &&
    (a.stdin || !b.stdin) &&
    (hasTerminal(a) || !hasTerminal(b)) &&
    b.paths.every((path) => a.paths.some((each) => coversPattern(each, path))) &&
    (a.limits.size === undefined || a.limits.size >= (b.limits.size ?? Infinity)) &&
    (a.limits.timeoutMs === undefined || a.limits.timeoutMs >= (b.limits.timeoutMs ?? Infinity)) &&
    (a.limits.output === undefined || a.limits.output >= (b.limits.output ?? Infinity))
  );
}

function coversWords(a: Rule, b: Rule): boolean {
  const most = b.args.length + (b.rest?.max ?? 0);
  if (a.args.length > b.args.length || most > a.args.length + (a.rest?.max ?? 0)) return false;
  const wide = (i: number) => a.args[i] ?? a.rest?.each;
  return (
    b.args.every((pattern, i) => coversPattern(wide(i), pattern)) &&
    // Words of b's rest stand where a has its rest too: a's fixed ones are no more than b's.
    (!b.rest || coversPattern(a.rest?.each, b.rest.each))
  );
}

function coversVariable(a: Variable, b: Variable): boolean {
  if (!(a.open ? b.name.startsWith(a.name) : a.name === b.name && !b.open)) return false;
  return !a.value || (b.value !== undefined && coversPattern(a.value, b.value));
}

function coversPattern(a: Pattern | undefined, b: Pattern): boolean {
  if (!a) return false;
  if (b.kind === 'literal') return matches(a, b.word);
  if (b.kind === 'one-of') return [...b.words].every((word) => matches(a, word));
  if (a.kind === 'number' && b.kind === 'number') return a.from <= b.from && a.to >= b.to;
  if (a.kind === 'like' && b.kind === 'like') return a.pattern === b.pattern || a.pattern === '*';
  if (a.kind !== 'path' || b.kind !== 'path') return false;
  if (pathText(a) === pathText(b)) return true;
  // Below a folder: all that lies deeper in it.
  const isBelow = a.parts.every((part, i) => part === b.parts[i]);
  return a.deep && isBelow && (b.deep ? b.parts.length >= a.parts.length : b.parts.length > a.parts.length);
}

/**
 * Reads the text of policy.yaml. What a reader could take for something else is an error: unknown keys, aliases, tags,
 * tabs, characters that cannot be seen.
 */
import { createHash } from 'node:crypto';
import { UsageError } from '../errors.js';
import { readDuration } from '../text/duration.js';
import { readSize } from '../text/size.js';
import { kindOf, type Tree, type TreeEntry } from '../text/tree.js';
import { readYaml } from '../text/yaml.js';
import { absolutePath, listOf, mapOf, Mistake, readPath, readPattern, wordTextOf } from './parse-pattern.js';
import { wordOfText, type PathPattern, type Pattern, type Word } from './patterns.js';
import { MOVES, OWNER, Policy, STARTS, VERBS, type Rule, type RuleLimits, type Variable, type Verb } from './rules.js';
import { isNeverAllowed, VARIABLE } from './variables.js';

/** Largest policy. */
export const MAX_POLICY = 1024 * 1024;
const MAX_RULES = 10_000;
const MAX_ARGS = 100;
const MAX_REST = 10_000;
const MAX_PATHS = 100;

/** A mistake in a policy. */
export interface PolicyProblem {
  readonly line: number;
  readonly what: string;
}

/** The policy's text cannot be obeyed. Its message has the first problem. */
export class PolicyError extends UsageError {
  readonly problems: readonly PolicyProblem[];
  constructor(file: string, problems: readonly PolicyProblem[]) {
    const [first] = problems;
    const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : '';
    super(`${file}:${first!.line}: ${first!.what}${more}`);
    this.problems = problems;
  }
}

const KEYS = [
  'id',
  'who',
  'verbs',
  'program',
  'args',
  'rest',
  'paths',
  'run-as',
  'env',
  'cwd',
  'stdin',
  'pty',
  'limits',
  'trusts-program',
] as const;
type Key = (typeof KEYS)[number];
type Parts = Readonly<Partial<Record<Key, Tree>>>;
/** What a rule about files does not have. */
const FOR_COMMANDS = [
  'program',
  'args',
  'rest',
  'env',
  'cwd',
  'stdin',
  'pty',
  'trusts-program',
] as const satisfies Key[];

const ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
/** A principal or a role, as pairing takes them. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/;
const ACCOUNT = /^[A-Za-z_][A-Za-z0-9._@-]{0,62}\$?$/;

/**
 * Reads a policy; `rev` counts its states.
 * @throws PolicyError with all mistakes.
 */
export function parsePolicy(bytes: Uint8Array, file: string, rev = 1): Policy {
  if (bytes.length > MAX_POLICY)
    throw new PolicyError(file, [{ line: 1, what: `it has ${bytes.length} bytes, more than ${MAX_POLICY}` }]);
  const text = decoded(bytes, file);
  const rules: Rule[] = [];
  const problems: PolicyProblem[] = [];
  const ids = new Map<string, number>();
  try {
    for (const item of rulesIn(readTree(text, file)))
      try {
        const rule = readRule(item);
        const first = ids.get(rule.id);
        if (first !== undefined)
          throw new Mistake(rule.line, `the id "${rule.id}" stands in line ${first} already: each rule has its own`);
        ids.set(rule.id, rule.line);
        rules.push(rule);
      } catch (error) {
        problems.push(problemOf(error));
      }
  } catch (error) {
    problems.push(problemOf(error));
  }
  if (problems.length) throw new PolicyError(file, problems);
  return new Policy(rules, { rev, sha256: createHash('sha256').update(bytes).digest('hex') });
}

function problemOf(error: unknown): PolicyProblem {
  if (error instanceof Mistake) return { line: error.line, what: error.message };
  throw error;
}

function decoded(bytes: Uint8Array, file: string): string {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new PolicyError(file, [{ line: 1, what: 'it is not UTF-8' }]);
  }
  // They hide or turn what a reader sees.
  const unseen = /(?!\r?\n)[\p{C}\p{Default_Ignorable_Code_Point}\u2028\u2029]|(?! )\p{Zs}/u.exec(text);
  if (!unseen) return text;
  const line = text.slice(0, unseen.index).split('\n').length;
  const [char] = unseen[0];
  const what =
    char === '\t'
      ? 'a tab: indent with spaces, and write "\\t" for a tab in a word'
      : `the character U+${unseen[0].codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}, which cannot be seen: write it as "\\u…"`;
  throw new PolicyError(file, [{ line, what }]);
}

function readTree(text: string, file: string): Tree | undefined {
  try {
    return readYaml(text, file, { plain: true });
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    // "FILE, line N: …", as inventories say it.
    const [, line, what] = /, line (\d+): (.*)$/s.exec(error.message) ?? [];
    throw new Mistake(line === undefined ? 1 : Number(line), what ?? error.message);
  }
}

function rulesIn(tree: Tree | undefined): readonly Tree[] {
  if (!tree) throw new Mistake(1, 'it is empty: it begins with "version: 1"');
  const entries = mapOf(tree, 'a policy', ['version', 'rules']);
  const version = entries.find(({ key }) => key === 'version');
  if (!version) throw new Mistake(1, 'it has no version: it begins with "version: 1"');
  if (version.value.kind !== 'text' || version.value.text !== '1')
    throw new Mistake(version.line, `version is ${kindOf(version.value)}: this program reads version 1`);
  const rules = entries.find(({ key }) => key === 'rules');
  return rules ? listOf(rules.value, 'rules', MAX_RULES) : [];
}

function readRule(item: Tree): Rule {
  const entries = mapOf(item, 'a rule', KEYS);
  const parts: Parts = Object.fromEntries(entries.map(({ key, value }) => [key, value]));
  const need = (key: Key): Tree => {
    const value = parts[key];
    if (!value) throw new Mistake(item.line, `a rule has no ${key}: it needs id, who and verbs`);
    return value;
  };
  const id = wordTextOf(need('id'), 'id');
  if (!ID.test(id) || id === OWNER)
    throw new Mistake(
      parts.id!.line,
      `the id ${JSON.stringify(id)} is not of 1 to 64 letters, digits and . _ -, or is "owner"`,
    );
  const verbs = readVerbs(need('verbs'));
  const starts = STARTS.filter((verb) => verbs.has(verb));
  const program = parts.program && readProgram(parts.program);
  const rule: Rule = {
    id,
    line: item.line ?? 1,
    ...readWho(need('who')),
    verbs,
    program,
    args: parts.args ? readArgs(parts.args) : [],
    rest: parts.rest && readRest(parts.rest),
    paths: parts.paths ? readPaths(parts.paths) : [],
    runAs: parts['run-as'] && readAccount(parts['run-as']),
    env: parts.env ? readEnv(parts.env) : [],
    cwd: parts.cwd ? readFolders(parts.cwd) : [],
    stdin: readYesNo(parts.stdin, 'stdin'),
    pty: readYesNo(parts.pty, 'pty'),
    limits: parts.limits ? readLimits(parts.limits) : {},
    trustsProgram: readYesNo(parts['trusts-program'], 'trusts-program'),
  };
  const wrong = (key: Key, what: string) => new Mistake(parts[key]?.line ?? item.line, what);
  if (verbs.has('forward')) throw wrong('verbs', 'connections are forwarded for owners: no rule allows it');
  if (MOVES.some((verb) => verbs.has(verb))) {
    checkMoves(rule, parts, starts, wrong);
    return rule;
  }
  if (!starts.length) {
    const extra = entries.find(({ key }) => !['id', 'who', 'verbs'].includes(key));
    if (extra)
      throw new Mistake(extra.line, `a rule with ${[...verbs].join(', ')} starts no command: it has no ${extra.key}`);
    return rule;
  }
  if (parts.paths) throw wrong('paths', 'paths is for put and get: write {path: …} for a word of a command');
  if (rule.limits.size !== undefined) throw wrong('limits', 'size is for put and get');
  if (program === undefined) {
    if (verbs.has('exec')) throw wrong('verbs', 'a rule with exec needs a program');
    for (const key of ['args', 'rest', 'trusts-program'] as const)
      if (parts[key]) throw wrong(key, `a rule without a program has no ${key}: shell text can be anything`);
  } else if (verbs.has('sh'))
    throw wrong('verbs', 'a rule with a program has no sh: shell text can start any program. Write a rule of its own');
  if (rule.runAs === undefined)
    throw wrong('run-as', 'a rule that starts commands needs run-as: an account of this machine');
  if (rule.runAs === 'root' && !rule.trustsProgram)
    throw wrong('run-as', 'run-as root needs "trusts-program: yes": root can change the agent');
  if (rule.trustsProgram) checkTrust(rule, wrong);
  return rule;
}

/** What a rule with put or get says: files, an account, limits, and nothing about commands. */
function checkMoves(
  { verbs, paths, runAs, limits }: Rule,
  parts: Parts,
  starts: readonly Verb[],
  wrong: (key: Key, what: string) => Mistake,
): void {
  const moves = MOVES.filter((verb) => verbs.has(verb)).join(' and ');
  if (starts.length)
    throw wrong('verbs', `a rule with ${moves} starts no command: write a rule of its own for ${starts.join(', ')}`);
  for (const key of FOR_COMMANDS) if (parts[key]) throw wrong(key, `a rule with ${moves} has no ${key}`);
  if (!paths.length) throw wrong('paths', `a rule with ${moves} needs paths: [/srv/app/**]`);
  if (runAs === undefined) throw wrong('run-as', `a rule with ${moves} needs run-as: an account of this machine`);
  if (runAs === 'root') throw wrong('run-as', 'files are moved as root for owners only');
  if (limits.output !== undefined) throw wrong('limits', `the limits of ${moves} have size (of a file), not output`);
}

/** What a rule with trusts-program must state word by word. */
function checkTrust(rule: Rule, wrong: (key: Key, what: string) => Mistake): void {
  const exact = (pattern: Pattern | undefined) => pattern?.kind === 'literal' || pattern?.kind === 'one-of';
  const why = 'in a rule with trusts-program';
  if (rule.verbs.has('pty') || rule.pty) throw wrong(rule.pty ? 'pty' : 'verbs', `a terminal has no place ${why}`);
  if (!rule.args.every(exact)) throw wrong('args', `args are words or one-of ${why}`);
  if (rule.rest) throw wrong('rest', `rest is none ${why}`);
  if (!rule.env.every(({ value }) => exact(value)))
    throw wrong('env', `each variable has its value ${why}: write {NAME: value} or {NAME: {one-of: […]}}`);
  if (rule.stdin) throw wrong('stdin', `stdin is no ${why}`);
}

function readWho(value: Tree): { principals: Set<string>; roles: Set<string> } {
  const principals = new Set<string>();
  const roles = new Set<string>();
  for (const item of listOf(value, 'who')) {
    const word = wordTextOf(item, 'a word of who');
    const name = word.startsWith('role:') ? word.slice(5) : word;
    if (!NAME.test(name)) throw new Mistake(item.line, `who: ${JSON.stringify(word)} is no principal and no role:NAME`);
    if (name === OWNER) throw new Mistake(item.line, 'who: owners may do everything, no rule is about them');
    (word === name ? principals : roles).add(name);
  }
  if (!principals.size && !roles.size)
    throw new Mistake(value.line, 'who has no entry: write [alice] or [role:deploy]');
  return { principals, roles };
}

function readVerbs(value: Tree): Set<Verb> {
  const verbs = new Set<Verb>();
  for (const item of listOf(value, 'verbs')) {
    const word = wordTextOf(item, 'a word of verbs');
    const verb = VERBS.find((each) => each === word);
    if (!verb) throw new Mistake(item.line, `${JSON.stringify(word)} is no verb: they are ${VERBS.join(' ')}`);
    verbs.add(verb);
  }
  if (!verbs.size) throw new Mistake(value.line, 'verbs has no entry');
  return verbs;
}

function readProgram(value: Tree): Word {
  const path = absolutePath(wordTextOf(value, 'program'), 'program', value.line);
  if (path === '/') throw new Mistake(value.line, 'program "/" is a folder');
  if (/[*?]/.test(path)) throw new Mistake(value.line, `program "${path}" has * or ?: a rule is about one program`);
  return wordOfText(path);
}

const isNone = (value: Tree): boolean => value.kind === 'text' && value.text === 'none';

function readArgs(value: Tree): Pattern[] {
  if (isNone(value)) return [];
  return listOf(value, 'args', MAX_ARGS).map((item, i) => readPattern(item, `argument ${i + 1}`));
}

function readRest(value: Tree): Rule['rest'] {
  if (isNone(value)) return undefined;
  const entries = mapOf(value, 'rest', ['each', 'max']);
  const [each, max] = ['each', 'max'].map((name) => entries.find(({ key }) => key === name));
  if (!each || !max)
    throw new Mistake(value.line, 'rest is none, or has each and max: {each: {like: "web-*"}, max: 8}');
  return { each: readPattern(each.value, 'each'), max: readCount(max, MAX_REST) };
}

function readPaths(value: Tree): PathPattern[] {
  return listOf(value, 'paths', MAX_PATHS).map((item) =>
    readPath(wordTextOf(item, 'a word of paths'), { line: item.line, key: 'paths' }),
  );
}

function readAccount(value: Tree): string {
  const name = wordTextOf(value, 'run-as');
  if (ACCOUNT.test(name)) return name;
  throw new Mistake(value.line, `run-as ${JSON.stringify(name)} is no account's name: it is one name, and no number`);
}

function readEnv(value: Tree): Variable[] {
  if (isNone(value)) return [];
  return listOf(value, 'env').flatMap((item): Variable[] => {
    if (item.kind !== 'map') return [readVariable(wordTextOf(item, 'a word of env'), item.line)];
    const entries = mapOf(
      item,
      'a map of env',
      item.entries.map(({ key }) => key),
    );
    return entries.map(({ key, line, value: pattern }) => {
      const variable = readVariable(key, line);
      if (variable.open) throw new Mistake(line, `env: ${key} cannot have one value: name the variables`);
      return { ...variable, value: readPattern(pattern, key) };
    });
  });
}

function readVariable(text: string, line: number | undefined): Variable {
  const open = text.endsWith('*');
  const name = open ? text.slice(0, -1) : text;
  if (!VARIABLE.test(name))
    throw new Mistake(line, `env: ${JSON.stringify(text)} is not NAME, or the beginning of names and one *`);
  if (isNeverAllowed(name) || (open && isNeverAllowed(`${name}_`)))
    throw new Mistake(line, `env: ${text} is never allowed: programs take code, options or files from it`);
  return { name, open };
}

function readFolders(value: Tree): Word[] {
  return listOf(value, 'cwd').map((item) => {
    const path = absolutePath(wordTextOf(item, 'a word of cwd'), 'cwd', item.line);
    if (/[*?]/.test(path)) throw new Mistake(item.line, `cwd "${path}" has * or ?: name each folder`);
    return wordOfText(path);
  });
}

function readYesNo(value: Tree | undefined, what: string): boolean {
  if (!value) return false;
  if (value.kind === 'text' && (value.text === 'yes' || value.text === 'no')) return value.text === 'yes';
  throw new Mistake(value.line, `${what} is ${kindOf(value)}: write yes or no`);
}

const limitReaders = {
  timeout: ['timeoutMs', readTime],
  output: ['output', readBytes],
  memory: ['memory', readBytes],
  cpu: ['cpuMs', readTime],
  files: ['files', readCount],
  processes: ['processes', readCount],
  runs: ['runs', readCount],
  size: ['size', readBytes],
} as const satisfies { [key: string]: readonly [keyof RuleLimits, (entry: TreeEntry) => number] };

function readLimits(value: Tree): RuleLimits {
  const entries = mapOf(value, 'limits', Object.keys(limitReaders));
  return Object.fromEntries(
    entries.map((entry) => {
      const [name, read] = limitReaders[entry.key as keyof typeof limitReaders];
      return [name, read(entry)];
    }),
  );
}

function readTime({ key, line, value }: TreeEntry): number {
  const text = wordTextOf(value, key);
  const time = readDuration(text);
  if (time) return time;
  throw new Mistake(line, `${key} "${text}" is not a time such as 500ms, 30s, 2m or 1h`);
}

function readBytes({ key, line, value }: TreeEntry): number {
  const text = wordTextOf(value, key);
  const bytes = readSize(text);
  if (bytes) return bytes;
  throw new Mistake(line, `${key} "${text}" is not a size such as 65536, 64KiB, 10MiB or 1GiB`);
}

function readCount({ key, line, value }: TreeEntry, most: number = 1_000_000): number {
  const text = wordTextOf(value, key);
  const count = /^[1-9]\d{0,8}$/.test(text) ? Number(text) : Infinity;
  if (count <= most) return count;
  throw new Mistake(line, `${key} "${text}" is not a number from 1 to ${most}`);
}

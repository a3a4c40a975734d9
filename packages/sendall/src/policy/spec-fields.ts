/**
 * What a caller who is no owner may say in each field of a spec. The table has a row for every field, or it does not
 * compile: a new field is refused thought, not forgotten.
 */
import type { Limits, Spec } from '../protocol/messages.js';
import { variableOf } from '../protocol/secrets.js';
import { printable } from '../text/printable.js';
import { describe, matches, quoted, wordOf, wordOfText, type Word } from './patterns.js';
import { basenameOf, movesFiles, type Rule, type Verb } from './rules.js';
import { isNeverAllowed, TERMINAL, whyNotSet } from './variables.js';

/** A spec with its words ready to be compared. */
export interface ReadSpec {
  readonly spec: Spec;
  readonly argv: readonly Word[];
}

/** Says why not. Words cost more than the decision, so they are made only for those who ask. */
export type Why = () => string;
/** Why a rule does not allow what a field says; undefined: it does. */
type ByRule = (read: ReadSpec, rule: Rule) => Why | undefined;
/** The same for a field on which all rules agree. */
type ForAll = (spec: Spec) => Why | undefined;
type Row = { readonly byRule: ByRule } | { readonly forAll: ForAll };

const MIB = 1024 * 1024;
const HOUR = 3_600_000;
/** Longest grace between TERM and KILL: it lengthens a run beyond its timeout. */
const MAX_KILL_GRACE_MS = 30_000;
/** Longest keep of a finished run. */
const MAX_KEEP_MS = 24 * HOUR;
/** Most output kept on the disk for a caller who is away. */
const MAX_SPOOL = 256 * MIB;
const MAX_NAME = 128;
const MAX_TAGS = 16;
/** Variables, and secrets, of a run: each is compared with those of each rule. */
const MAX_VARIABLES = 1000;

const anything: Row = { forAll: () => undefined };
const oneOf = (field: 'capture' | 'overflow', ...values: readonly string[]): Row => ({
  forAll: ({ [field]: value }) =>
    value === undefined || values.includes(value) ? undefined : () => `${field} "${printable(value, 40)}" is not known`,
});
const atMost = (field: 'killGraceMs' | 'keepMs' | 'spoolMax', most: number, what: string): Row => ({
  forAll: ({ [field]: value }) =>
    value === undefined || value <= most
      ? undefined
      : () => `${what} of ${value} is above ${most}, the most for others than owners`,
});
const withinRule = (value: number | undefined, most: number | undefined, what: string): Why | undefined =>
  value === undefined || most === undefined || value <= most
    ? undefined
    : () => `${what} ${value} is above the rule's ${most}`;
const limitNames: { readonly [L in keyof Limits]-?: string } = {
  memory: 'memory',
  cpuMs: 'cpu',
  files: 'files',
  processes: 'processes',
};
/** A name that others will read. */
const whyTooMany = ({ length }: readonly unknown[], what: string): Why | undefined =>
  length > MAX_VARIABLES ? () => `${length} ${what} are more than ${MAX_VARIABLES}` : undefined;
const whyNoName = (what: string, name: string): Why | undefined =>
  name.length <= MAX_NAME && printable(name, MAX_NAME) === name
    ? undefined
    : () => `${what} is longer than ${MAX_NAME} characters, or holds some that cannot be printed`;

/** Shell text of the account's own shell could start any program. */
export const FOR_OWNERS = 'pair as an owner, or let a rule name the program';

const specFields: { readonly [F in keyof Spec]-?: Row } = {
  verb: {
    byRule: ({ spec: { verb, pty } }, rule) => {
      if (verb === 'forward') return () => 'connections are forwarded for owners';
      if (movesFiles(verb)) return rule.verbs.has(verb as Verb) ? undefined : () => `it does not allow ${verb}`;
      if (verb !== 'exec' && verb !== 'sh') return () => `no rule can allow the verb "${printable(verb, 40)}"`;
      // A terminal is a verb, and also a key of a rule for exec or sh.
      if (pty && rule.verbs.has('pty')) return undefined;
      return rule.verbs.has(verb) ? undefined : () => `it does not allow ${verb}`;
    },
  },
  argv: {
    byRule: ({ spec: { verb }, argv }, rule) => {
      if (verb === 'sh') return argv.length ? () => 'shell text has no words beside it' : undefined;
      if (movesFiles(verb)) return whyNotFiles(argv, rule);
      const { program, paths } = rule;
      if (paths.length) return () => 'it is for files';
      if (!argv.length) return () => 'there is no program';
      if (program === undefined)
        return () => (rule.verbs.has('sh') || rule.verbs.has('pty') ? 'it is for shell text' : 'it starts no command');
      if (!isProgram(argv[0]!, program)) return () => `the program ${quoted(argv[0]!)} is not ${quoted(program)}`;
      return whyNotArgs(argv, rule);
    },
  },
  script: {
    byRule: ({ spec: { verb, script } }, rule) => {
      if (verb !== 'sh') return script === undefined ? undefined : () => 'a program has no shell text';
      if (script === undefined) return () => 'there is no shell text';
      if (rule.paths.length) return () => 'it is for files, not for shell text';
      return rule.program === undefined ? undefined : () => 'it is for a program, not for shell text';
    },
  },
  cwd: {
    byRule: ({ spec: { cwd } }, rule) =>
      cwd === undefined || rule.cwd.includes(wordOf(cwd))
        ? undefined
        : () => `the folder ${quoted(wordOf(cwd))} is not allowed`,
  },
  env: {
    forAll: ({ env }) => whyTooMany(env, 'variables'),
    byRule: ({ spec }, rule) => {
      for (const pair of spec.env) {
        const word = wordOf(pair);
        const equals = word.indexOf('=');
        if (equals < 0) return () => `the variable ${quoted(word)} has no value`;
        const why = whyNotSet(rule.env, word.slice(0, equals), word.slice(equals + 1));
        if (why) return why;
      }
      return undefined;
    },
  },
  runAs: {
    byRule: ({ spec: { runAs } }, rule) =>
      runAs === undefined || runAs === rule.runAs
        ? undefined
        : () => `it runs as ${rule.runAs ?? 'no account'}, not as "${printable(runAs, 40)}"`,
  },
  stdin: {
    byRule: ({ spec: { verb, stdin, pty } }, rule) =>
      // A terminal's input is the terminal's, and files come and go by stdin and stdout.
      !stdin || rule.stdin || pty || movesFiles(verb) ? undefined : () => 'it allows no stdin',
  },
  pty: {
    byRule: ({ spec: { pty } }, rule) => {
      if (!pty) return undefined;
      if (!rule.pty && !rule.verbs.has('pty')) return () => 'it allows no terminal';
      const { term } = pty;
      return term === undefined || TERMINAL.test(term)
        ? undefined
        : () => `"${printable(term, 64)}" is no terminal's name`;
    },
  },
  capture: oneOf('capture', 'split', 'merged', 'exact', 'ordered'),
  timeoutMs: { byRule: ({ spec }, rule) => withinRule(spec.timeoutMs, rule.limits.timeoutMs, 'timeout') },
  idleMs: anything,
  killGraceMs: atMost('killGraceMs', MAX_KILL_GRACE_MS, 'a kill grace'),
  termAfterMs: anything,
  keepMs: atMost('keepMs', MAX_KEEP_MS, 'a keep'),
  spoolMax: atMost('spoolMax', MAX_SPOOL, 'a spool'),
  overflow: oneOf('overflow', 'block', 'stop', 'drop-old'),
  name: { forAll: ({ name }) => (name === undefined ? undefined : whyNoName('its name', name)) },
  tags: {
    forAll: ({ tags }) => {
      if (tags.length > MAX_TAGS) return () => `${tags.length} tags are more than ${MAX_TAGS}`;
      return firstOf(tags, (tag) => whyNoName('a tag', tag));
    },
  },
  idempotent: anything,
  maxOutput: { byRule: ({ spec }, rule) => withinRule(spec.maxOutput, rule.limits.output, 'max-output') },
  sha256: anything,
  // It keeps less than every run may keep.
  passing: anything,
  limits: {
    byRule: ({ spec: { limits } }, rule) => {
      if (!limits) return undefined;
      // Few programs are at their best without a descriptor or memory left, and this one may run as root.
      if (rule.trustsProgram) return () => 'a program that is trusted has the limits of its rule, and no others';
      return firstOf(Object.keys(limitNames) as (keyof Limits)[], (name) =>
        withinRule(limits[name], rule.limits[name], limitNames[name]),
      );
    },
  },
  accountShell: { forAll: ({ accountShell }) => (accountShell ? () => FOR_OWNERS : undefined) },
  secrets: {
    forAll: ({ secrets }) => whyTooMany(secrets, 'secrets'),
    byRule: ({ spec: { secrets } }, rule) =>
      firstOf(secrets, (secret) => {
        const { name, as } = secret;
        if (as !== 'fd' && as !== 'env') return () => `a secret as "${printable(as, 40)}" is not known`;
        // Its number, or its value, is in the environment.
        const variable = wordOfText(variableOf(secret));
        if (isNeverAllowed(variable)) return () => `the variable ${variable} is never allowed`;
        return whyNotSet(rule.env, wordOfText(name), undefined);
      }),
  },
};

function firstOf<T>(items: readonly T[], why: (item: T) => Why | undefined): Why | undefined {
  for (const item of items) {
    const found = why(item);
    if (found) return found;
  }
  return undefined;
}

const names = Object.keys(specFields) as readonly (keyof Spec)[];
const forAll = names.flatMap((name) => {
  const row = specFields[name];
  return 'forAll' in row ? [row.forAll] : [];
});
/** In this order: the later one is wrong, the nearer a rule came. */
const ordered = ['argv', 'verb', 'script', 'runAs', 'pty', 'stdin', 'cwd', 'env'] as const satisfies (keyof Spec)[];
const byRule = [...new Set<keyof Spec>([...ordered, ...names])].flatMap((name) => {
  const row = specFields[name];
  return 'byRule' in row ? [row.byRule] : [];
});

/** What is wrong with a spec whatever the rules say. */
export const whyNoRule = (spec: Spec): Why | undefined => firstOf(forAll, (row) => row(spec));

/** The first field that a rule does not allow, and its place in the order. */
export function whyNotRule(read: ReadSpec, rule: Rule): { readonly place: number; readonly why: Why } | undefined {
  for (let place = 0; place < byRule.length; place++) {
    const why = byRule[place]!(read, rule);
    if (why) return { place, why };
  }
  return undefined;
}

/** Whether argv[0] means a program: by its whole path, or by its last part. The caller's PATH is never consulted. */
const isProgram = (name: Word, program: Word): boolean => name === program || name === basenameOf(program);

/** Whether a rule allows the words behind argv[0]. */
export function areArgsAllowed(argv: readonly Word[], { args, rest }: Rule): boolean {
  const fixed = args.length;
  const given = argv.length - 1;
  if (given < fixed || given > fixed + (rest ? rest.max : 0)) return given < 0;
  for (let i = 0; i < fixed; i++) if (!matches(args[i]!, argv[i + 1]!)) return false;
  for (let i = fixed; i < given; i++) if (!matches(rest!.each, argv[i + 1]!)) return false;
  return true;
}

/** The part of a run's words that a rule allows, of a command's from the first one on: below 1. */
export function wordsAllowed(
  { spec: { verb }, argv }: ReadSpec,
  { program, args: patterns, paths, verbs }: Rule,
): number {
  if (movesFiles(verb)) {
    // A rule about files is nearer than others, and one with the verb nearer still.
    const matched = argv.filter((word) => paths.some((path) => matches(path, word))).length;
    return (Number(paths.length > 0) + Number(verbs.has(verb as Verb)) + matched) / (argv.length + 3);
  }
  const [name, ...args] = argv;
  if (name === undefined || program === undefined || !isProgram(name, program)) return 0;
  const wrong = args.findIndex((arg, i) => !patterns[i] || !matches(patterns[i], arg));
  return (1 + (wrong < 0 ? args.length : wrong)) / (args.length + 2);
}

function whyNotFiles(argv: readonly Word[], { paths }: Rule): Why | undefined {
  if (!argv.length) return () => 'there is no path';
  if (!paths.length) return () => 'it is not for files';
  return firstOf(argv, (word) =>
    paths.some((path) => matches(path, word))
      ? undefined
      : () => `the path ${quoted(word)} is not ${paths.map(describe).join(', or ')}`,
  );
}

function whyNotArgs(argv: readonly Word[], rule: Rule): Why | undefined {
  if (areArgsAllowed(argv, rule)) return undefined;
  const { args, rest } = rule;
  const most = args.length + (rest?.max ?? 0);
  for (let i = 1; i < argv.length; i++) {
    const pattern = args[i - 1] ?? rest?.each;
    if (!pattern || i > most) return () => `argument ${i} ${quoted(argv[i]!)} is one more than it allows`;
    if (!matches(pattern, argv[i]!)) return () => `argument ${i} ${quoted(argv[i]!)} is not ${describe(pattern)}`;
  }
  return () => `argument ${argv.length} is missing: it is ${describe(args[argv.length - 1]!)}`;
}

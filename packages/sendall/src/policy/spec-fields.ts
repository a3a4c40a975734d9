/**
 * What a caller who is no owner may say in each field of a spec. The table has a row for every field, or it does not
 * compile: a new field is refused thought, not forgotten.
 */
import type { Spec } from '../protocol/messages.js';
import { printable } from '../text/printable.js';
import { describe, matches, quoted, wordOf, wordOfText, type Word } from './patterns.js';
import { basenameOf, type Rule } from './rules.js';
import { TERMINAL, whyNotSet } from './variables.js';

/** A spec with its words ready to be compared. */
export interface ReadSpec {
  readonly spec: Spec;
  readonly argv: readonly Word[];
}

/** Why a rule does not allow what a field says; undefined: it does. */
type Row = (read: ReadSpec, rule: Rule) => string | undefined;

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

const anything: Row = () => undefined;
const oneOf =
  (field: 'capture' | 'overflow', ...values: readonly string[]): Row =>
  ({ spec }) => {
    const value = spec[field];
    return value === undefined || values.includes(value)
      ? undefined
      : `${field} "${printable(value, 40)}" is not known`;
  };
const atMost =
  (field: 'killGraceMs' | 'keepMs' | 'spoolMax', most: number, what: string): Row =>
  ({ spec }) => {
    const value = spec[field];
    return value === undefined || value <= most
      ? undefined
      : `${what} of ${value} is above ${most}, the most for others than owners`;
  };
const withinRule = (value: number | undefined, most: number | undefined, what: string): string | undefined =>
  value === undefined || most === undefined || value <= most
    ? undefined
    : `${what} ${value} is above the rule's ${most}`;
const limitNames: { readonly [L in keyof NonNullable<Spec['limits']>]-?: string } = {
  memory: 'memory',
  cpuMs: 'cpu',
  files: 'files',
  processes: 'processes',
};
/** A name that others will read. */
const whyNoName = (what: string, name: string): string | undefined =>
  name.length <= MAX_NAME && printable(name, MAX_NAME) === name
    ? undefined
    : `${what} is longer than ${MAX_NAME} characters, or holds some that cannot be printed`;

export const specFields: { readonly [F in keyof Spec]-?: Row } = {
  verb: ({ spec: { verb, pty } }, rule) => {
    if (verb !== 'exec' && verb !== 'sh') return `no rule can allow the verb "${printable(verb, 40)}"`;
    // A terminal is a verb, and also a key of a rule for exec or sh.
    if (pty && rule.verbs.has('pty')) return undefined;
    return rule.verbs.has(verb) ? undefined : `it does not allow ${verb}`;
  },
  argv: ({ spec: { verb }, argv }, rule) => {
    if (verb === 'sh') return argv.length ? 'shell text has no words beside it' : undefined;
    const [name, ...args] = argv;
    if (name === undefined) return 'there is no program';
    if (rule.program === undefined) return 'it is for shell text';
    if (!isProgram(name, rule.program)) return `the program ${quoted(name)} is not ${quoted(rule.program)}`;
    return whyNotArgs(args, rule);
  },
  script: ({ spec: { verb, script } }, rule) => {
    if (verb !== 'sh') return script === undefined ? undefined : 'a program has no shell text';
    if (script === undefined) return 'there is no shell text';
    return rule.program === undefined ? undefined : 'it is for a program, not for shell text';
  },
  cwd: ({ spec: { cwd } }, rule) =>
    cwd === undefined || rule.cwd.includes(wordOf(cwd))
      ? undefined
      : `the folder ${quoted(wordOf(cwd))} is not allowed`,
  env: ({ spec }, rule) => {
    for (const pair of spec.env) {
      const word = wordOf(pair);
      const equals = word.indexOf('=');
      if (equals < 0) return `the variable ${quoted(word)} has no value`;
      const why = whyNotSet(rule.env, word.slice(0, equals), word.slice(equals + 1));
      if (why !== undefined) return why;
    }
    return undefined;
  },
  runAs: ({ spec: { runAs } }, rule) => {
    if (runAs === undefined || runAs === rule.runAs) return undefined;
    return `it runs as ${rule.runAs ?? "the agent's user"}, not as "${printable(runAs, 40)}"`;
  },
  stdin: ({ spec: { stdin, pty } }, rule) =>
    // A terminal's input is the terminal's.
    !stdin || rule.stdin || pty ? undefined : 'it allows no stdin',
  pty: ({ spec: { pty } }, rule) => {
    if (!pty) return undefined;
    if (!rule.pty && !rule.verbs.has('pty')) return 'it allows no terminal';
    return pty.term === undefined || TERMINAL.test(pty.term)
      ? undefined
      : `"${printable(pty.term, 64)}" is no terminal's name`;
  },
  capture: oneOf('capture', 'split', 'merged', 'exact', 'ordered'),
  timeoutMs: ({ spec }, rule) => withinRule(spec.timeoutMs, rule.limits.timeoutMs, 'timeout'),
  idleMs: anything,
  killGraceMs: atMost('killGraceMs', MAX_KILL_GRACE_MS, 'a kill grace'),
  termAfterMs: anything,
  keepMs: atMost('keepMs', MAX_KEEP_MS, 'a keep'),
  spoolMax: atMost('spoolMax', MAX_SPOOL, 'a spool'),
  overflow: oneOf('overflow', 'block', 'stop', 'drop-old'),
  name: ({ spec: { name } }) => (name === undefined ? undefined : whyNoName('its name', name)),
  tags: ({ spec: { tags } }) => {
    if (tags.length > MAX_TAGS) return `${tags.length} tags are more than ${MAX_TAGS}`;
    return tags.map((tag) => whyNoName('a tag', tag)).find((why) => why !== undefined);
  },
  idempotent: anything,
  maxOutput: ({ spec }, rule) => withinRule(spec.maxOutput, rule.limits.output, 'max-output'),
  sha256: anything,
  limits: ({ spec: { limits } }, rule) => {
    if (!limits) return undefined;
    return (Object.keys(limitNames) as (keyof typeof limitNames)[])
      .map((name) => withinRule(limits[name], rule.limits[name], limitNames[name]))
      .find((why) => why !== undefined);
  },
  secrets: ({ spec: { secrets } }, rule) => {
    for (const { name, as } of secrets) {
      if (as !== 'fd' && as !== 'env') return `a secret as "${printable(as, 40)}" is not known`;
      // Its number, or its value, is in the environment.
      const why = whyNotSet(rule.env, wordOfText(name), undefined);
      if (why !== undefined) return why;
    }
    return undefined;
  },
};

/** The order in which fields are looked at: the later one is wrong, the nearer a rule came. */
export const fieldOrder = [
  'verb',
  'script',
  'argv',
  'runAs',
  'pty',
  'stdin',
  'cwd',
  'env',
  ...(Object.keys(specFields) as (keyof Spec)[]),
].filter((field, i, all) => all.indexOf(field) === i) as readonly (keyof Spec)[];

/** Whether argv[0] means a program: by its whole path, or by its last part. The caller's PATH is never consulted. */
const isProgram = (name: Word, program: Word): boolean => name === program || name === basenameOf(program);

/** The part of a command's words that a rule allows, from the first one on: below 1. */
export function wordsAllowed([name, ...args]: readonly Word[], { program, args: patterns }: Rule): number {
  if (name === undefined || program === undefined || !isProgram(name, program)) return 0;
  const wrong = args.findIndex((arg, i) => !patterns[i] || !matches(patterns[i], arg));
  return (1 + (wrong < 0 ? args.length : wrong)) / (args.length + 2);
}

function whyNotArgs(args: readonly Word[], rule: Rule): string | undefined {
  const fixed = rule.args.length;
  for (let i = 0; i < args.length; i++) {
    const pattern = i < fixed ? rule.args[i]! : rule.rest?.each;
    if (!pattern || i >= fixed + (rule.rest?.max ?? 0))
      return `argument ${i + 1} ${quoted(args[i]!)} is one more than it allows`;
    if (!matches(pattern, args[i]!)) return `argument ${i + 1} ${quoted(args[i]!)} is not ${describe(pattern)}`;
  }
  if (args.length < fixed) return `argument ${args.length + 1} is missing: it is ${describe(rule.args[args.length]!)}`;
  return undefined;
}

/** The command that is being written: kept while the reader looks at other views, and begun from an earlier run. */
import type { Asked } from '../../../dist/console/messages.js';
import { Store } from '../../frame/store.js';
import { t } from '../../frame/words.js';

export type Options = NonNullable<Asked<'run'>['options']>;

/** The options that are fields of text. */
const OPTION_FIELDS = [
  'cwd',
  'runAs',
  'timeout',
  'name',
  'window',
  'canary',
  'maxFail',
  'deadline',
] as const satisfies readonly (keyof Options)[];
export type OptionField = (typeof OPTION_FIELDS)[number];
/** Of these, those that only mean something for several hosts. */
const FLEET_FIELDS: readonly OptionField[] = ['window', 'canary', 'maxFail', 'deadline'];

export interface Draft {
  readonly targets: string;
  readonly isShell: boolean;
  readonly argv: readonly string[];
  readonly script: string;
  readonly env: string;
  readonly fields: Readonly<Partial<Record<OptionField, string>>>;
}

const EMPTY: Draft = { targets: '', isShell: false, argv: [''], script: '', env: '', fields: {} };

export const draft = new Store<Draft>(EMPTY);

/** Begins a new run with the words of another one. */
export function draftFrom(targets: string, argv: readonly string[]): void {
  draft.value = { ...EMPTY, targets, argv: argv.length > 0 ? argv : [''] };
}

/** The options of a run on one host, or on several. */
export const optionFields = (isFleet: boolean): readonly OptionField[] =>
  OPTION_FIELDS.filter((name) => isFleet || !FLEET_FIELDS.includes(name));

/** The draft as a request, or what is wrong with it. What its fields do not show is not asked for. */
export function requestOf(
  { targets, isShell, argv, script, env, fields }: Draft,
  isFleet: boolean,
): Asked<'run'> | { problem: string } {
  const options: Record<string, unknown> = {};
  for (const name of optionFields(isFleet)) {
    const text = fields[name]?.trim();
    if (!text) continue;
    if (name === 'window' || name === 'canary') {
      if (!/^\d{1,6}$/.test(text)) return { problem: t('wholeWrong', { field: t(OPTION_WORDS[name]) }) };
      options[name] = Number(text);
    } else options[name] = name === 'maxFail' && /^\d+$/.test(text) ? Number(text) : text;
  }
  const lines = env.split('\n');
  const pairs: [string, string][] = [];
  for (const [i, line] of lines.entries()) {
    if (line.trim() === '') continue;
    const at = line.indexOf('=');
    if (at < 1) return { problem: t('envWrong', { n: i + 1 }) };
    pairs.push([line.slice(0, at), line.slice(at + 1)]);
  }
  // A name such as __proto__ is a name.
  if (pairs.length > 0) options.env = Object.fromEntries(pairs);
  const command = isShell ? { script } : { argv };
  return { targets, ...command, ...(Object.keys(options).length > 0 ? { options: options as Options } : {}) };
}

export const OPTION_WORDS = {
  cwd: 'oCwd',
  runAs: 'oRunAs',
  timeout: 'oTimeout',
  name: 'oName',
  window: 'oWindow',
  canary: 'oCanary',
  maxFail: 'oMaxFail',
  deadline: 'oDeadline',
} as const satisfies Record<OptionField, string>;

/** `--limit NAME=VALUE` of `sendall agent`: what the agent and its keeper take of their callers. */
import { UsageError, type AgentOptions } from '../../../index.js';
import { ALL_LIMITS, type LimitEntry } from '../../../internal.js';
import { closest } from '../../words/closest.js';
import { parseCount } from '../../words/limit-words.js';
import { parseDuration, parseSize } from '../../words/units.js';

const READERS: { readonly [unit in LimitEntry['unit']]: (text: string, option: string) => number } = {
  NUMBER: parseCount,
  SIZE: parseSize,
  TIME: parseDuration,
};
/** The one limit for which 0 means that there is none. */
const MAY_BE_ZERO = 'idleExit';

/** The table of the help and the manual. */
export const limitRows: Readonly<Record<string, string>> = Object.fromEntries(
  ALL_LIMITS.map(({ name, unit, about }) => [`${name}=${unit}`, about]),
);

/**
 * The agent's options for these words; of a limit that is there twice the last one counts.
 * @throws UsageError for a name that there is not, and for a value that is wrong.
 */
export function agentLimits(words: readonly string[]): AgentOptions {
  const agent: Record<string, number> = {};
  const keeper: Record<string, number> = {};
  for (const word of words) {
    const [, name = '', text = ''] = /^([^=]*)=(.*)$/s.exec(word) ?? [];
    const limit = ALL_LIMITS.find((each) => each.name === name);
    if (!limit) throw noLimit(word, name);
    const { of, option, unit } = limit;
    const value = READERS[unit](text, `--limit ${name}`);
    if (value === 0 && name !== MAY_BE_ZERO) throw new UsageError(`--limit ${name}: it must be above 0`);
    (of === 'agent' ? agent : keeper)[option] = value;
  }
  return { ...agent, ...(Object.keys(keeper).length && { keeperLimits: keeper }) };
}

function noLimit(word: string, name: string): UsageError {
  if (!name) return new UsageError(`--limit: "${word}" is not NAME=VALUE`);
  // Messages name a limit by its option, such as maxRunsPerPrincipal.
  const near =
    ALL_LIMITS.find(({ option }) => option === name)?.name ??
    closest(
      name,
      ALL_LIMITS.map((each) => each.name),
    );
  return new UsageError(
    `--limit: there is no limit "${name}": ${near ? `did you mean ${near}?` : 'see "sendall agent --help"'}`,
  );
}

/** The words for limits that another agent has. */
export function limitWords(limits: Readonly<Record<string, number>>): string[] {
  return Object.entries(limits).flatMap(([name, value]) => {
    const isTime = ALL_LIMITS.some((each) => each.name === name && each.unit === 'TIME');
    return ['--limit', `${name}=${value}${isTime ? 'ms' : ''}`];
  });
}

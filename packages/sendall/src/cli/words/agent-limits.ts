/** `--limit NAME=NUMBER` of `sendall agent`: what the agent takes of its callers. */
import { UsageError, type AgentOptions } from '../../index.js';
import { LIMIT_NAMES, type LimitName } from '../../internal.js';
import { closest } from './closest.js';

const NAMES = Object.keys(LIMIT_NAMES);

/**
 * The agent's options for these words.
 * @throws UsageError for a name that there is not, and for a number that is none.
 */
export function agentLimits(words: readonly string[]): AgentOptions {
  return Object.fromEntries(
    words.map((word) => {
      const [, name = '', number = ''] = /^([^=]*)=(\d{1,15})$/.exec(word) ?? [];
      if (!number || Number(number) === 0) throw new UsageError(`--limit: "${word}" is not NAME=NUMBER, above 0`);
      if (Object.hasOwn(LIMIT_NAMES, name)) return [LIMIT_NAMES[name as LimitName], Number(number)];
      const near = closest(name, NAMES);
      throw new UsageError(
        `--limit: there is no limit "${name}": ${near ? `did you mean ${near}?` : `there are ${NAMES.join(', ')}`}`,
      );
    }),
  );
}

/** The words for limits that another agent has. */
export function limitWords(limits: Readonly<Record<string, number>>): string[] {
  return Object.entries(limits).flatMap(([name, number]) => ['--limit', `${name}=${number}`]);
}

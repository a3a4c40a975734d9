/** The words of --limit: memory=512M,cpu=60s,files=256,processes=64. */
import { UsageError, type CommandLimits } from '../../index.js';
import { parseDuration, parseSize } from './units.js';

const READERS: { readonly [name in keyof Required<CommandLimits>]: (text: string, option: string) => number } = {
  memory: parseSize,
  cpu: parseDuration,
  files: parseCount,
  processes: parseCount,
};

export const limitNames = Object.keys(READERS);

/**
 * The limits that these values of --limit ask for; of a limit that is there twice the last one counts.
 * @throws UsageError
 */
export function parseLimits(texts: readonly string[]): CommandLimits | undefined {
  if (texts.length === 0) return undefined;
  const limits: { [name: string]: number } = {};
  for (const each of texts.flatMap((text) => text.split(','))) {
    const [, name = '', value = ''] = /^(\w+)=(.*)$/s.exec(each) ?? [];
    if (!Object.hasOwn(READERS, name))
      throw new UsageError(
        `--limit: "${each}" is not a limit: they are memory=SIZE, cpu=TIME, files=N and processes=N`,
      );
    limits[name] = READERS[name as keyof CommandLimits](value, `--limit ${name}`);
  }
  return limits;
}

/** A whole number. @throws UsageError */
export function parseCount(text: string, option: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new UsageError(`${option}: "${text}" is not a whole number`);
  return Number(text);
}

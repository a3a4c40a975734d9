/** How a message is read: JSON, then its schema; a problem is a sentence. */
import * as v from 'valibot';

/** A message, or its problem in a sentence; `id` is 0 when none could be read. */
export type Reading<T> = { readonly message: T } | { readonly id: number; readonly problem: string };

/** A JSON object; undefined for anything else. */
export function parsed(json: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

/** A message by its schema, or what is wrong with it. */
export function checked<T extends v.GenericSchema, M>(
  schema: T,
  value: unknown,
  made: (read: v.InferOutput<T>) => M,
  number = 0,
): Reading<M> {
  const read = v.safeParse(schema, value, { abortEarly: true });
  if (read.success) return { message: made(read.output) };
  return { id: number, problem: problemOf(read.issues[0]) };
}

/** Where the problem is, and what. */
export const problemOf = (issue: v.BaseIssue<unknown>): string =>
  `${v.getDotPath(issue) ?? 'the message'} ${issue.message}`;

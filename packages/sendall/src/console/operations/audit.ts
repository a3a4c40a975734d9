/** The log of a host: its records, and whether it is still what it was. */
import { SendallError } from '../../errors.js';
import { auditVerify as verify, type Host } from '../../index.js';
import { keptHead } from '../../internal.js';
import { hostsOf } from '../context.js';
import type { Value } from '../messages.js';
import type { Answer } from './answer.js';

/** Records that are told unless the page asks for another number. */
const USUAL = 100;

type Told = Value<'audit'>;

export const audit: Answer<'audit'> = async ({ host: name, last, from, run }, { links }) => {
  const asked = run !== undefined ? { run, from: from ?? 0 } : from !== undefined ? { from } : { last: last ?? USUAL };
  return await links.ask(name, async (host) => await logLines(host, asked));
};

/** Records of a host's log. @throws SendallError for an answer that holds anything else. */
export async function logLines(host: Host, asked: object): Promise<Told> {
  const wrong = (cause?: unknown) =>
    new SendallError('LOG', `${host.id} tells lines that are no records of a log`, { cause });
  const told = await host.ask<{ lines?: unknown; next?: unknown; size?: unknown } | null>('log-lines', asked);
  const { lines, next, size } = told ?? {};
  const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
  if (!Array.isArray(lines)) throw wrong();
  try {
    const records = lines.map((line) => {
      const record = JSON.parse(String(line)) as Partial<Told['records'][number]> | null;
      if (!isCount(record?.n) || typeof record.at !== 'string' || typeof record.kind !== 'string') throw wrong();
      return record as Told['records'][number];
    });
    return { records, ...(isCount(next) ? { next } : {}), ...(isCount(size) ? { size } : {}) };
  } catch (cause) {
    throw wrong(cause);
  }
}

export const auditVerify: Answer<'auditVerify'> = async ({ host: name }, context) => {
  const kept = keptHead(name, context.home, hostsOf(context));
  const heads = kept ? [{ size: kept.size, head: kept.root, pin: kept.pin }] : [];
  // A long log takes longer than a question.
  using lease = await context.links.use(name);
  const { ok, isolation, size, root, checked, against, problems } = await verify(lease.host, heads);
  return {
    ok,
    isolation,
    size,
    root,
    checked,
    against: against.map(({ pin, size: at, consistent }) => ({ pin, size: at, consistent })),
    problems: problems.map(({ index, kind }) => ({ index, kind })),
  };
};

/** A host's log as it grows. */
import { SendallError } from '../../errors.js';
import { logLines } from '../operations/audit.js';
import { pause, type Feed } from './feed.js';

/** Milliseconds between two looks at the log. */
const LOOK_MS = 1000;
/** Records that it begins with. */
const USUAL = 100;

export const audit: Feed<'audit'> = async ({ host: name, last = USUAL }, sub, { links }) => {
  const ask = async (asked: object) => await links.ask(name, async (host) => await logLines(host, asked));
  let told = await ask({ last });
  let from = told.records.at(-1)?.n ?? (told.size ?? 0) - 1;
  const begin = async () => {
    while (!sub.over) {
      if (told.records.length) await sub.event({ event: 'records', records: told.records });
      // More of it is there already.
      if (!told.records.length || from + 1 >= (told.size ?? 0)) await pause(LOOK_MS, sub.signal);
      if (sub.over) return;
      told = await ask({ from: from + 1 });
      const next = told.records.at(-1)?.n ?? from;
      if (told.records.length && next <= from)
        throw new SendallError('LOG', `${name} tells the same part of its log again and again`);
      from = next;
    }
  };
  return { value: {}, begin };
};

/** Errors as the page gets them. */
import { SendallError } from '../errors.js';
import type { Failure } from './messages.js';

/** Characters of a message; those of a host may be of any length. */
const LONGEST = 2000;

/** The code and the sentence of an error; without a code, it is one of this program. */
export function failureOf(error: unknown): Failure {
  const { code, message, shortMessage } = error as { code?: unknown; message?: unknown; shortMessage?: unknown };
  const text = typeof shortMessage === 'string' ? shortMessage : typeof message === 'string' ? message : String(error);
  return { code: typeof code === 'string' ? code : 'FAILED', message: text.slice(0, LONGEST) };
}

export const readOnly = (): SendallError =>
  new SendallError('READ_ONLY', 'this console only reads: it was started with --read-only');
export const watchOnly = (): SendallError =>
  new SendallError('WATCH_ONLY', 'this address is for watching one run, and for nothing else');

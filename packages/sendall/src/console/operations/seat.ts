/** What a page does with a run that one of its subscriptions is attached to. */
import { UsageError } from '../../errors.js';
import { seatOf } from '../subscription.js';
import type { Answer } from './answer.js';

export const take: Answer<'take'> = async ({ sub }, _context, asker) => {
  await seatOf(asker.subscription(sub)).take();
  return {};
};

export const release: Answer<'release'> = async ({ sub }, _context, asker) => {
  await seatOf(asker.subscription(sub)).release();
  return {};
};

export const stdin: Answer<'stdin'> = async ({ sub, text, base64, end = false }, _context, asker) => {
  if (text !== undefined && base64 !== undefined) throw new UsageError('input is text or base64: give one of them');
  const bytes =
    text !== undefined ? Buffer.from(text) : base64 === undefined ? undefined : Buffer.from(base64, 'base64');
  await seatOf(asker.subscription(sub)).stdin(bytes, end);
  return {};
};

export const resize: Answer<'resize'> = async ({ sub, cols, rows }, _context, asker) => {
  await seatOf(asker.subscription(sub)).resize(cols, rows);
  return {};
};

/** Starts a run once, however often the feed breaks. */
import type { Asked, Value } from '../../dist/console/messages.js';
import { feed, type FeedError } from '../frame/feed.js';
import { newRunId } from './uuid.js';

/** When the feed breaks before the answer, the same request with the same id goes out again. Rejects with a FeedError. */
export async function startRun(request: Omit<Asked<'run'>, 'runId'>): Promise<Value<'run'>> {
  const runId = newRunId();
  for (;;) {
    try {
      return await feed.ask('run', { ...request, runId });
    } catch (error) {
      if ((error as FeedError).code !== 'LOST') throw error;
      await feed.link.until(({ state }) => state === 'open');
    }
  }
}

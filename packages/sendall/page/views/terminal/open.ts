/** Opens a shell on a host and goes to its terminal. */
import { goTo } from '../../frame/place.js';
import { startRun } from '../../parts/start-run.js';

/** The size until the page knows its own. */
const SIZE = { cols: 80, rows: 24 };

/** Rejects with a FeedError when the host does not start it. */
export async function openShell(host: string): Promise<void> {
  const { runId } = await startRun({ targets: host, loginShell: true, options: { pty: SIZE, stdin: 'open' } });
  goTo('terminal', [host, runId], { control: '1' });
}

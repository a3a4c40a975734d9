/** Shows one line on a terminal while a link takes long to make or restore; removes it once the link is up. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { DialEvent } from '../../index.js';
import type { Arguments } from '../words/command.js';
import { clearStatus, hasStatusLine, showStatus } from './status-line.js';

/** Milliseconds of silence before the line appears. */
const PATIENCE = 1000;

/** Shows, from now on, when dialling `host` takes more than a second. Returns the function that stops it. */
export function showProgress(host: string, args: Arguments): () => void {
  if (!hasStatusLine() || args.on('quiet')) return () => undefined;
  let timer: NodeJS.Timeout | undefined;
  let since = 0;
  let reason = '';
  let linked = false;
  const draw = () => {
    const seconds = Math.round((performance.now() - since) / 1000);
    const what = linked ? `the link to ${host} is lost, dialling again` : `connecting to ${host}`;
    showStatus(`sendall: ${what}… ${seconds}s${reason ? ` (${reason})` : ''}`);
    timer = setTimeout(draw, 1000).unref();
  };
  const clear = () => {
    clearTimeout(timer);
    timer = undefined;
    clearStatus();
  };
  const onDial = (message: unknown) => {
    const event = message as DialEvent;
    if (event.host !== host) return;
    if (event.state === 'dialling') {
      since ||= performance.now();
      timer ??= setTimeout(draw, PATIENCE).unref();
    } else if (event.state === 'failed') reason = event.reason;
    else {
      clear();
      since = 0;
      reason = '';
      linked = true;
    }
  };
  subscribe('sendall:dial', onDial);
  return () => {
    unsubscribe('sendall:dial', onDial);
    clear();
  };
}

/** `-v`: tells of each attempt to reach the host. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { DialEvent } from '../../index.js';
import type { Voice } from './voice.js';

/** Returns the function that stops it. */
export function narrate(target: string, voice: Voice): () => void {
  if (!voice.verbose) return () => undefined;
  const onDial = (message: unknown) => {
    const event = message as DialEvent;
    if (event.host !== target) return;
    if (event.state === 'dialling') voice.tell(`connecting to ${target}`);
    else if (event.state === 'failed') voice.tell(`${target} was not reached: ${event.reason}`);
    else voice.tell(`${target} has let us in`);
  };
  subscribe('sendall:dial', onDial);
  return () => unsubscribe('sendall:dial', onDial);
}

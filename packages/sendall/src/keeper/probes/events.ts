/** What a keeper does, for listeners of the `node:diagnostics_channel` "sendall:keeper". */
import { channel } from 'node:diagnostics_channel';

/** `no` is the run's number in the journal. */
export type KeeperEvent =
  | { readonly what: 'intent'; readonly no: number }
  /** fdatasync has returned; it covered every entry appended before it began. */
  | { readonly what: 'synced' }
  | { readonly what: 'spawn'; readonly no: number }
  | { readonly what: 'exit'; readonly no: number }
  | { readonly what: 'compacted' };

const events = channel('sendall:keeper');

export function publish(event: KeeperEvent): void {
  if (events.hasSubscribers) events.publish(event);
}

/** Where an attachment begins: the one rule that caller and agent both follow. */
import type { From, StreamState } from './messages.js';

/** The first offset that `wanted` asks for on a stream in this state. */
export function startOffset(wanted: From | undefined, state: StreamState): number {
  if (wanted?.tail !== undefined) return Math.max(state.first, state.next - wanted.tail);
  return wanted?.offset ?? 0;
}

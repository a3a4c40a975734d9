/** What a filter sees of the events of inspect. */
import type { Filterable } from '../messages/filter.js';
import type { InspectEvent } from '../proxy/inspector.js';
import type { PairEvent } from '../proxy/pairs.js';

const NOTHING: readonly Buffer[] = [];

export function filterable(event: InspectEvent | PairEvent): Filterable {
  const { atMs } = event;
  switch (event.event) {
    case 'read': {
      const { connection, direction, length, glued, split, partial, bytes, messages } = event;
      return {
        event: 'read',
        atMs,
        connection,
        direction,
        size: length,
        glued,
        split,
        partial: partial !== undefined,
        // A text that two reads share is found in the message that the second one ends.
        contents: split ? [bytes, messages[0]!.payload] : [bytes],
      };
    }
    case 'pair': {
      const { connection, request, answer, tookMs } = event;
      return { event: 'pair', atMs, connection, tookMs, contents: [request.payload, answer.payload] };
    }
    case 'unanswered':
      return { event: 'unanswered', atMs, connection: event.connection, contents: [event.request.payload] };
    case 'unasked':
      return { event: 'unasked', atMs, connection: event.connection, contents: [event.answer.payload] };
    default:
      return {
        event: event.event,
        atMs,
        connection: 'connection' in event ? event.connection : undefined,
        direction: 'direction' in event ? event.direction : undefined,
        contents: NOTHING,
      };
  }
}

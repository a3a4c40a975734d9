/** The events of an inspector as lines and as JSON. */
import { isUtf8 } from 'node:buffer';
import type { Guess } from '../messages/guess.js';
import type { InspectEvent, InspectRead } from '../proxy/inspector.js';
import type { TapMessage } from '../messages/tap.js';
import { content, type Content } from '../wire/trace.js';
import { hexdump } from './hexdump.js';
import { oneLine } from './printable.js';

const ARROWS = { up: '→', down: '←' } as const;
/** Bytes of a message shown on its line. */
const SHOWN_BYTES = 60;

/** An inspector's event, as lines for a terminal. `→` is from the client to the server. */
export function renderInspected(event: InspectEvent): string[] {
  const time = `${event.atMs.toFixed(1)} ms`.padStart(11);
  switch (event.event) {
    case 'open':
      return [`${time}  #${event.connection} opened by ${event.client}${openedInCapture(event)}`];
    case 'read':
      return [`${time}  #${event.connection} ${ARROWS[event.direction]} ${describeRead(event)}`, ...readDetails(event)];
    case 'wire':
      return [`${time}  #${event.connection} ${ARROWS[event.direction]} ${describeWire(event)}`];
    case 'misfit':
      return [
        `${time}  #${event.connection} ${ARROWS[event.direction]} the framing ${event.framing} cannot be right: ${event.reason}`,
        ...(event.guesses.length > 0 ? [`${' '.repeat(13)}what was seen fits ${listGuesses(event.guesses)}`] : []),
      ];
    case 'guess':
      return [
        `${time}  #${event.connection} ${ARROWS[event.direction]} looks like ${listGuesses(event.guesses)}; ${event.framing} from here on`,
      ];
    case 'end': {
      const truncated = event.truncated === undefined ? '' : `, inside a message: ${event.truncated}`;
      return [`${time}  #${event.connection} ${ARROWS[event.direction]} ended${truncated}`];
    }
    case 'close': {
      const error = event.error === undefined ? '' : ` (${event.error})`;
      return [`${time}  #${event.connection} closed after ${event.up} bytes there and ${event.down} back${error}`];
    }
    default:
      return [`${time}  ${event.client} refused: ${event.reason}`];
  }
}

function openedInCapture({ server, protocol, midway }: Extract<InspectEvent, { event: 'open' }>): string {
  if (server === undefined) return '';
  return ` to ${server}${protocol === 'udp' ? ' over UDP' : ''}${midway ? ', before the capture began' : ''}`;
}

function describeWire({ what, offset, length, reason }: Extract<InspectEvent, { event: 'wire' }>): string {
  const bytes = `${length === 1 ? 'byte' : 'bytes'} ${offset}${length === 1 ? '' : ` to ${offset + length}`}`;
  if (what === 'repeated') return `${bytes} came again`;
  if (what === 'early') return `${bytes} came early, before those in front of ${length === 1 ? 'it' : 'them'}`;
  return `${bytes} ${length === 1 ? 'is' : 'are'} missing: ${reason}`;
}

/** "read of 57 bytes at 0: 3 messages, and 12 of 40 bytes of the next". */
export function describeRead(read: InspectRead): string {
  const { messages, partial, split, offset, length } = read;
  const parts: string[] = [];
  const rest = split ? 1 : 0;
  if (rest) parts.push(`the rest of message ${messages[0]!.index}`);
  if (messages.length > rest) {
    const count = messages.length - rest;
    parts.push(count === 1 ? '1 message' : `${count} messages`);
  }
  if (partial) {
    const { have, missing } = partial;
    const begun = have > length ? 'more' : 'the beginning';
    parts.push(
      missing === undefined
        ? `${begun} of the next (${have} bytes of it by now)`
        : `${have} of ${have + missing} bytes of the next`,
    );
  }
  return `${read.seen ?? 'read'} of ${length} bytes at ${offset}${parts.length > 0 ? `: ${parts.join(', and ')}` : ''}`;
}

function readDetails(read: InspectRead): string[] {
  const indent = ' '.repeat(13);
  return [
    ...hexdump(read.bytes, read.offset, 128).map((line) => indent + line),
    ...read.messages.map(
      ({ index, payload, start, end }) => `${indent}message ${index}, bytes ${start} to ${end}: ${preview(payload)}`,
    ),
  ];
}

/** The beginning of a message, on one line. */
export function preview(payload: Buffer, length = payload.length): string {
  if (payload.length === 0) return '(empty)';
  const shown = payload.subarray(0, SHOWN_BYTES);
  const more = length > shown.length ? ` … (${length} bytes)` : '';
  return `${isUtf8(shown) ? oneLine(shown.toString()) : shown.toString('hex')}${more}`;
}

function listGuesses(guesses: readonly Guess[]): string {
  return guesses
    .map(
      ({ framing, protocol, score, messages }) =>
        `${framing} (${protocol === undefined ? '' : `${protocol}, `}${Math.round(score * 100)} %, ${messages} ${messages === 1 ? 'message' : 'messages'})`,
    )
    .join(' or ');
}

export type InspectedJson =
  | Exclude<InspectEvent, InspectRead>
  | (Omit<InspectRead, 'bytes' | 'messages'> & Content & { readonly messages: readonly MessageJson[] });

type MessageJson = Omit<TapMessage, 'payload'> & { readonly length: number } & Content;

/** The event as JSON: buffers as text if possible, else hex; at most 256 bytes of each. */
export function inspectedJson(event: InspectEvent): InspectedJson {
  if (event.event !== 'read') return event;
  const { bytes, messages, ...rest } = event;
  return {
    ...rest,
    ...content(bytes),
    messages: messages.map(({ payload, ...place }) => ({ ...place, length: payload.length, ...content(payload) })),
  };
}

/** The messages of a carrier: a number, what arrived from the other side, how much it may send, and bytes. */
import { ProtocolError } from '../../errors.js';

/** `probe` and `here` have no number of their own: they say how many messages came before. */
export const KINDS = ['data', 'acknowledgement', 'beat', 'end', 'reset', 'probe', 'here'] as const;
export type Kind = (typeof KINDS)[number];

export interface CarrierMessage {
  readonly kind: Kind;
  /** 1 for the first message of a direction, then one more each. */
  readonly number: number;
  /** Messages of the other direction that have arrived. */
  readonly arrived: number;
  /** The receiver's grant: bytes that the other side may send, counted from the link's beginning. */
  readonly grant: number;
  readonly body: Buffer;
}

/** One byte for the kind, three numbers of six bytes. */
export const HEADER = 19;
/** Most bytes of a message, header included. Servers may be set to a smaller `max_payload`. */
export const MAX_MESSAGE = 32 * 1024;
/** What a message costs the broker beside its bytes: subject, lengths, its place in a queue. */
export const OVERHEAD = 256;

/** Writes the header into the first bytes of `message`. */
export function writeHeader(message: Buffer, kind: Kind, number: number, arrived: number, grant: number): void {
  message[0] = KINDS.indexOf(kind);
  message.writeUIntBE(number, 1, 6);
  message.writeUIntBE(arrived, 7, 6);
  message.writeUIntBE(grant, 13, 6);
}

/** @throws ProtocolError for bytes that are no message. */
export function readMessage(bytes: Uint8Array): CarrierMessage {
  const message = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const kind = KINDS[message[0] ?? KINDS.length];
  if (message.length < HEADER || kind === undefined) throw new ProtocolError('a message that is none of a link');
  return {
    kind,
    number: message.readUIntBE(1, 6),
    arrived: message.readUIntBE(7, 6),
    grant: message.readUIntBE(13, 6),
    body: message.subarray(HEADER),
  };
}

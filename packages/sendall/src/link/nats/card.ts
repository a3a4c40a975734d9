/** A card: what a host tells everyone who asks its fleet, signed by its key. */
import { createPublicKey, sign, verify } from 'node:crypto';
import { ProtocolError } from '../../errors.js';
import { fingerprintOf } from '../../keys/fingerprint.js';
import type { Identity } from '../../keys/identity.js';
import { printable } from '../../text/printable.js';

/** A host's word about itself. Only the key is proved; the rest is shown and selects nothing. */
export interface Card {
  /** What the host calls itself. */
  readonly name: string;
  /** Fingerprint of its key, proved by the signature. */
  readonly pin: string;
  readonly version: string;
  /** The epoch of its runs, in hexadecimal: another one means that its state was lost or replaced. */
  readonly epoch: string;
  /** Grows with each start of its agent. */
  readonly serial: number;
}

const MAX_CARD = 2048;
const LONGEST_TEXT = 64;
const CONTEXT = 'sendall-card-1\n';

/** `question`: the random text of who asks, so that no old card answers. */
export function writeCard(identity: Identity, question: string, card: Omit<Card, 'pin'>): Buffer {
  const body = JSON.stringify({ ...card, question, key: identity.spki.toString('base64url') });
  const signature = sign('sha256', Buffer.from(CONTEXT + body), identity.key).toString('base64url');
  return Buffer.from(JSON.stringify({ body, signature }));
}

/** @throws ProtocolError for anything but a card for this question whose signature is right. */
export function readCard(bytes: Uint8Array, question: string): Card {
  if (bytes.length > MAX_CARD) throw new ProtocolError(`a card of ${bytes.length} bytes`);
  try {
    const { body, signature } = JSON.parse(Buffer.from(bytes).toString()) as { body: string; signature: string };
    const said = JSON.parse(body) as Record<string, unknown>;
    const spki = Buffer.from(String(said.key), 'base64url');
    const key = createPublicKey({ key: spki, format: 'der', type: 'spki' });
    if (said.question !== question) throw new Error('it answers another question');
    if (!verify('sha256', Buffer.from(CONTEXT + body), key, Buffer.from(signature, 'base64url')))
      throw new Error('its signature is wrong');
    const text = (value: unknown): string => printable(typeof value === 'string' ? value : '', LONGEST_TEXT);
    return {
      name: text(said.name),
      pin: fingerprintOf(spki),
      version: text(said.version),
      epoch: text(said.epoch),
      serial: Number.isSafeInteger(said.serial) ? (said.serial as number) : 0,
    };
  } catch (cause) {
    throw new ProtocolError(`not a host's card: ${(cause as Error).message}`, { cause });
  }
}

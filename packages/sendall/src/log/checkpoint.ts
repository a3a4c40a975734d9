/**
 * A checkpoint: the head of a log, signed by the log's key. Sources: C2SP tlog-checkpoint and signed-note, with the one
 * kind of key that every implementation has, Ed25519.
 */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  hash,
  sign,
  verify,
  type KeyObject,
} from 'node:crypto';
import { SendallError } from '../errors.js';
import { hashBase64, hashFromBase64 } from './hashes.js';
import type { Head } from './proofs.js';

/** The kind of key, in its encoding and in its id. */
const ED25519 = 1;
/** Bytes of an Ed25519 public key, and of what stands before it as SubjectPublicKeyInfo (RFC 8410). */
const KEY_SIZE = 32;
const SPKI_HEAD = Buffer.from('302a300506032b6570032100', 'hex');
const ID_SIZE = 4;
/** Characters of a checkpoint: a note of strangers is not read further. */
export const LONGEST_CHECKPOINT = 4096;

const SIGNATURE = /^\u2014 (\S+) ([A-Za-z0-9+/]+={0,2})$/;
const DECIMAL = /^(0|[1-9]\d{0,15})$/;

/** A log's head under the name of its log. */
export interface Checkpoint extends Head {
  /** The log's name, which is its key's name too. */
  readonly origin: string;
}

/** A key that checks checkpoints, in the encoding of Go's sumdb/note: `NAME+ID+KEY`. */
export interface LogKey {
  readonly name: string;
  readonly text: string;
  readonly key: KeyObject;
}

const badKey = (why: string): SendallError => new SendallError('LOG', `this is not the key of a log: ${why}`);

/** Bytes that name a key: the beginning of a hash over its name, kind and bytes. */
const idOf = (name: string, encoded: Uint8Array): Buffer =>
  hash('sha256', Buffer.concat([Buffer.from(`${name}\n`), encoded]), 'buffer').subarray(0, ID_SIZE);

/** The public half of a private key (PEM) under the log's name. */
export function logKeyOf(name: string, pem: string): LogKey {
  const key = createPublicKey(pem);
  const encoded = Buffer.concat([
    Buffer.from([ED25519]),
    key.export({ type: 'spki', format: 'der' }).subarray(-KEY_SIZE),
  ]);
  return { name, text: `${name}+${idOf(name, encoded).toString('hex')}+${encoded.toString('base64')}`, key };
}

/**
 * Reads a key.
 * @throws SendallError LOG
 */
export function parseLogKey(text: string): LogKey {
  const [name, id, encoded] = text.trim().split(/\+(?=[0-9a-f]{8}\+)|(?<=\+[0-9a-f]{8})\+/);
  if (!name || id === undefined || encoded === undefined) throw badKey('it is not NAME+ID+KEY');
  const bytes = Buffer.from(encoded, 'base64');
  if (bytes[0] !== ED25519 || bytes.length !== 1 + KEY_SIZE) throw badKey('it is not an Ed25519 key');
  if (idOf(name, bytes).toString('hex') !== id) throw badKey('its id belongs to another key');
  const der = Buffer.concat([SPKI_HEAD, bytes.subarray(1)]);
  return { name, text: text.trim(), key: createPublicKey({ key: der, format: 'der', type: 'spki' }) };
}

/** A new private key, PEM. */
export const newLogKey = (): string =>
  String(generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }));

/** The text that a checkpoint's signature covers. */
const bodyOf = ({ origin, size, root }: Checkpoint): string => `${origin}\n${size}\n${hashBase64(root)}\n`;

/** A head as a signed note. `pem`: the private key of the log named `head.origin`. */
export function signCheckpoint(head: Checkpoint, pem: string): string {
  const { name, text } = logKeyOf(head.origin, pem);
  const id = Buffer.from(text.slice(name.length + 1, name.length + 1 + 2 * ID_SIZE), 'hex');
  const body = bodyOf(head);
  const signature = sign(null, Buffer.from(body), createPrivateKey(pem));
  return `${body}\n\u2014 ${name} ${Buffer.concat([id, signature]).toString('base64')}\n`;
}

/**
 * Reads a checkpoint without a look at its signatures.
 * @throws SendallError LOG when it is not a checkpoint.
 */
export function readCheckpoint(note: string): Checkpoint {
  const wrong = (why: string): SendallError => new SendallError('LOG', `this is not a checkpoint: ${why}`);
  if (note.length > LONGEST_CHECKPOINT) throw wrong(`it has more than ${LONGEST_CHECKPOINT} characters`);
  const end = note.indexOf('\n\n');
  if (end < 0) throw wrong('no empty line ends its text');
  const [origin, size, root] = note.slice(0, end).split('\n');
  if (!origin || size === undefined || root === undefined) throw wrong('it has no origin, size and root');
  const hashed = hashFromBase64(root);
  if (!DECIMAL.test(size) || !Number.isSafeInteger(Number(size))) throw wrong('its size is not a number');
  if (hashed === undefined) throw wrong('its root is not a SHA-256');
  return { origin, size: Number(size), root: hashed };
}

/**
 * Reads a checkpoint that this key has signed.
 * @throws SendallError LOG when it is not a checkpoint, is another log's, or has no valid signature of the key.
 */
export function openCheckpoint(note: string, { name, text, key }: LogKey): Checkpoint {
  const checkpoint = readCheckpoint(note);
  if (checkpoint.origin !== name)
    throw new SendallError('LOG', `the checkpoint is of the log ${checkpoint.origin}, not of ${name}`);
  const end = note.indexOf('\n\n') + 1;
  const signed = Buffer.from(note.slice(0, end));
  const id = text.slice(name.length + 1, name.length + 1 + 2 * ID_SIZE);
  for (const line of note.slice(end + 1).split('\n')) {
    const [, by, encoded = ''] = SIGNATURE.exec(line) ?? [];
    const bytes = Buffer.from(encoded, 'base64');
    if (by !== name || bytes.subarray(0, ID_SIZE).toString('hex') !== id) continue;
    if (verify(null, signed, key, bytes.subarray(ID_SIZE))) return checkpoint;
  }
  throw new SendallError('LOG', `the checkpoint has no valid signature of the key ${name}+${id}`);
}

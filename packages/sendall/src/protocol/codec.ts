/** Frames to messages and back. The one place that looks at unknown input; behind it everything is checked. */
import { ProtocolError } from '../errors.js';
import { decodeFields, encodeFields, type Fields, type MessageOf, type Sender } from './fields.js';
import {
  GRANT_FIELDS,
  MESSAGES,
  SPEC_FIELDS,
  type Control,
  type Grant,
  type Message,
  type MessageName,
  type Spec,
} from './messages.js';
import { OWN_VERBS, startsOwnProgram, wrongOwnRun } from './own-runs.js';
import { wrongSecrets } from './secrets.js';

const HEADER = 8;
const DATA_TYPE = 0x20;
/** type, flags, reserved, alias, then stream:u8, gseq:u48, offset:u64. */
export const DATA_HEADER = HEADER + 1 + 6 + 8;

const BY_TYPE = new Map<number, [MessageName, Fields]>();
for (const [name, [type, fields]] of Object.entries(MESSAGES)) BY_TYPE.set(type, [name as MessageName, fields]);

function header(frame: Buffer, type: number, alias: number): void {
  frame[0] = type;
  frame[1] = 0;
  frame.writeUInt16BE(0, 2);
  frame.writeUInt32BE(alias, 4);
}

/** Encodes a control message as a frame's payload (without the frame's length). */
export const encode = (message: Control): Buffer => encodeFor(message.alias, message);

/** As `encode`, for another alias than the message's own. */
export function encodeFor(alias: number, message: Control): Buffer {
  const [type, fields] = MESSAGES[message.type];
  const frame = encodeFields(fields as Fields, message as unknown as MessageOf<Fields>, HEADER);
  header(frame, type, alias);
  return frame;
}

const typesOf = (...names: MessageName[]): ReadonlySet<number | undefined> =>
  new Set(names.map((name) => MESSAGES[name][0]));
const FOR_CALLERS = typesOf('STARTED', 'EOS', 'EXIT', 'TREE_END', 'ECHO', 'BLOCKED');
const BEGIN_OR_END = typesOf('OPEN', 'ATTACH', 'DETACH');

// A process between two links need not decode what it passes on.

/** Whether a frame of the keeper's tells callers something that changes nothing in the agent between them. */
export const isForCallers = (frame: Buffer): boolean => FOR_CALLERS.has(frame[0]);

/** Whether a frame of a caller's says that its alias is used from now on, or no more. */
export const bindsAlias = (frame: Buffer): boolean => BEGIN_OR_END.has(frame[0]);

const REFUSALS = typesOf('REFUSED', 'ATTACH_REFUSED');
/** Whether a frame says that an alias leads nowhere, and why. */
export const isRefusal = (frame: Buffer): boolean => REFUSALS.has(frame[0]);

/** The alias in a frame's header; 0, the link's own, when the frame is too short to have one. */
export const aliasOf = (frame: Buffer): number => (frame.length < HEADER ? 0 : frame.readUInt32BE(4));

/** Whether a frame is a piece of a stream. */
export const isData = (frame: Buffer): boolean => frame[0] === DATA_TYPE;

/** Gives a frame another alias. */
export const readdress = (frame: Buffer, alias: number): void => void frame.writeUInt32BE(alias, 4);

/** Writes a DATA frame's header into `frame`; the bytes are expected at DATA_HEADER already or soon. */
export function writeDataHeader(frame: Buffer, alias: number, stream: number, gseq: number, offset: number): void {
  header(frame, DATA_TYPE, alias);
  frame[HEADER] = stream;
  frame.writeUIntBE(gseq, HEADER + 1, 6);
  frame.writeUInt32BE(Math.floor(offset / 0x1_0000_0000), HEADER + 7);
  frame.writeUInt32BE(offset >>> 0, HEADER + 11);
}

/** Encodes a piece of a stream as one frame payload. */
export function encodeData(alias: number, stream: number, gseq: number, offset: number, bytes: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(DATA_HEADER + bytes.length);
  writeDataHeader(frame, alias, stream, gseq, offset);
  frame.set(bytes, DATA_HEADER);
  return frame;
}

/**
 * Decodes a frame's payload. The bytes of DATA are a view of `frame`; other fields are copies or views as well. Fields
 * that only agents set are taken from the link of agent and keeper alone (`from`).
 * @throws ProtocolError for an unknown type or anything malformed.
 */
export function decode(frame: Buffer, from: Sender = 'anyone'): Message {
  if (frame.length < HEADER) throw new ProtocolError(`a frame of ${frame.length} bytes is shorter than its header`);
  const type = frame[0]!;
  const alias = aliasOf(frame);
  if (frame[1] !== 0 || frame[2] !== 0 || frame[3] !== 0) throw new ProtocolError('reserved bits of a frame are set');
  if (type === DATA_TYPE) {
    if (frame.length < DATA_HEADER) throw new ProtocolError('a DATA frame is shorter than its header');
    const high = frame.readUInt32BE(HEADER + 7);
    if (high >= 0x20_0000) throw new ProtocolError('an offset above 2^53 - 1');
    return {
      type: 'DATA',
      alias,
      stream: frame[HEADER]!,
      gseq: frame.readUIntBE(HEADER + 1, 6),
      offset: high * 0x1_0000_0000 + frame.readUInt32BE(HEADER + 11),
      bytes: frame.subarray(DATA_HEADER),
    };
  }
  const entry = BY_TYPE.get(type);
  if (!entry) throw new ProtocolError(`unknown frame type 0x${type.toString(16).padStart(2, '0')}`);
  const [name, fields] = entry;
  const message = decodeFields(fields, frame, name, HEADER, from) as unknown as Control;
  message.type = name;
  message.alias = alias;
  return message;
}

export const encodeGrant = (grant: Grant): Buffer => encodeFields(GRANT_FIELDS, grant);
export const decodeGrant = (raw: Uint8Array): Grant => decodeFields(GRANT_FIELDS, raw, 'grant');

export function encodeSpec(spec: Spec): Uint8Array {
  return encodeFields(SPEC_FIELDS, spec);
}

const NUL = 0;

function mustBeWord(word: Uint8Array | undefined, where: string, i?: number): void {
  if (!word?.includes(NUL)) return;
  const place = i === undefined ? where : `${where}[${i}]`;
  throw new ProtocolError(`${place} holds a NUL byte, which no command can receive`);
}

/** A terminal's name, which becomes TERM. Programs find files by it. */
export const TERMINAL_NAME = /^[A-Za-z0-9._+-]{1,64}$/;
const VERBS = new Set<string>(['exec', 'sh', ...OWN_VERBS]);
/** What these fields of a spec may say. */
export const CHOICES = {
  capture: ['split', 'merged', 'exact', 'ordered'],
  overflow: ['block', 'stop', 'drop-old'],
} as const satisfies { [name in keyof Spec]?: readonly string[] };

function mustBeChoice(name: keyof typeof CHOICES, value: string | undefined): void {
  const allowed: readonly string[] = CHOICES[name];
  if (value !== undefined && !allowed.includes(value))
    throw new ProtocolError(`spec.${name} must be one of ${allowed.join(', ')}`);
}

/**
 * Decodes and checks a spec.
 * @throws ProtocolError naming what is wrong; the run is then refused as badspec.
 */
export function decodeSpec(raw: Uint8Array): Spec {
  const spec = decodeFields(SPEC_FIELDS, raw, 'spec');
  if (!VERBS.has(spec.verb)) throw new ProtocolError(`spec.verb must be one of ${[...VERBS].join(', ')}`);
  if (spec.verb === 'exec' && !spec.argv.length) throw new ProtocolError('spec.argv is empty');
  if (spec.verb === 'sh' && spec.script === undefined) throw new ProtocolError('spec.script is missing');
  if (spec.accountShell && spec.verb !== 'sh') throw new ProtocolError('spec.accountShell is for the verb sh');
  mustBeChoice('capture', spec.capture);
  mustBeChoice('overflow', spec.overflow);
  if (spec.pty?.term !== undefined && !TERMINAL_NAME.test(spec.pty.term))
    throw new ProtocolError('spec.pty.term is not the name of a terminal: 1 to 64 letters, digits and . _ + -');
  spec.argv.forEach((word, i) => mustBeWord(word, 'argv', i));
  spec.env.forEach((pair, i) => mustBeWord(pair, 'env', i));
  mustBeWord(spec.cwd, 'cwd');
  mustBeWord(spec.script, 'script');
  for (const pair of spec.env) if (pair.indexOf(0x3d) < 1) throw new ProtocolError('an env entry is not NAME=VALUE');
  if (spec.verb === 'exec' && spec.argv[0]!.length === 0) throw new ProtocolError('argv[0] is empty');
  const wrong = startsOwnProgram(spec) ? wrongOwnRun(spec) : wrongSecrets(spec);
  if (wrong !== undefined) throw new ProtocolError(wrong);
  return spec;
}

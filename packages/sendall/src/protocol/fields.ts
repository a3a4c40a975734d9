/**
 * Control bodies are protobuf messages (proto2 presence: a field is there or it is not). This file turns a table of
 * fields into an encoder, a decoder and a TypeScript type, so that a message is described once, in `messages.ts`.
 */
import { ProtocolError } from '../errors.js';
import { Reader, WIRE, Writer } from './protobuf.js';

type Scalar = 'uint' | 'bool' | 'string' | 'bytes';
export interface Field {
  readonly no: number;
  readonly of: Scalar | Fields;
  readonly repeated: boolean;
  readonly optional: boolean;
  /** Bytes that it has; any number when undefined. */
  readonly length?: number | undefined;
  /** Set by agents for their keepers; see `decodeFields`. */
  readonly agentOnly?: boolean | undefined;
}
export type Fields = { readonly [name: string]: Field };

type ScalarType<S> = S extends 'uint' ? number : S extends 'bool' ? boolean : S extends 'string' ? string : Uint8Array;
type ItemType<F extends Field> = F['of'] extends Fields ? MessageOf<F['of']> : ScalarType<F['of']>;
type ValueType<F extends Field> = F['repeated'] extends true ? readonly ItemType<F>[] : ItemType<F>;
type OptionalNames<T extends Fields> = { [K in keyof T]: T[K]['optional'] extends true ? K : never }[keyof T];
/** The TypeScript shape of a table of fields: optional fields may be absent, repeated ones are arrays. */
export type MessageOf<T extends Fields> = { [K in Exclude<keyof T, OptionalNames<T>>]: ValueType<T[K]> } & {
  [K in OptionalNames<T>]?: ValueType<T[K]> | undefined;
};

export interface FieldOf<S, R extends boolean, O extends boolean> {
  readonly no: number;
  readonly of: S;
  readonly repeated: R;
  readonly optional: O;
  readonly length?: number | undefined;
  readonly agentOnly?: boolean | undefined;
}
const one = <S extends Scalar | Fields>(no: number, of: S): FieldOf<S, false, false> => ({
  no,
  of,
  repeated: false,
  optional: false,
});
export const uint = (no: number) => one<'uint'>(no, 'uint');
export const bool = (no: number) => one<'bool'>(no, 'bool');
export const text = (no: number) => one<'string'>(no, 'string');
/** `length`: the only one that is taken. Names of things have one, or a longer name could pass for another's. */
export const bytes = (no: number, length?: number): FieldOf<'bytes', false, false> => ({
  ...one<'bytes'>(no, 'bytes'),
  length,
});
export const message = <T extends Fields>(no: number, of: T) => one<T>(no, of);
export const opt = <S, R extends boolean>(field: FieldOf<S, R, false>): FieldOf<S, R, true> => ({
  ...field,
  optional: true,
});
/** A field that an agent adds to a caller's message for its keeper. No caller may send it. */
export const agentOnly = <S, R extends boolean>(field: FieldOf<S, R, true>): FieldOf<S, R, true> => ({
  ...field,
  agentOnly: true,
});
/** A list; one that is empty is not written, so it always decodes to an array. */
export const list = <S>(field: FieldOf<S, false, false>): FieldOf<S, true, false> => ({ ...field, repeated: true });

const DEEPEST = 8;

/** A field as the loops below want it. */
interface Slot {
  readonly name: string;
  readonly tag: number;
  readonly of: Scalar | 'message';
  readonly repeated: boolean;
  readonly inner: Plan | undefined;
  readonly length: number | undefined;
  readonly agentOnly: boolean;
}

/** A table of fields, made ready once. */
interface Plan {
  readonly slots: readonly Slot[];
  readonly byNumber: readonly (Slot | undefined)[];
  readonly lists: readonly string[];
  readonly required: readonly string[];
}

const plans = new WeakMap<Fields, Plan>();

function planOf(fields: Fields): Plan {
  let plan = plans.get(fields);
  if (!plan) plans.set(fields, (plan = makePlan(fields)));
  return plan;
}

function makePlan(fields: Fields): Plan {
  const byNumber: (Slot | undefined)[] = [];
  const slots = Object.entries(fields).map(([name, { no, of, repeated, length, agentOnly = false }]): Slot => {
    const wire = of === 'uint' || of === 'bool' ? WIRE.varint : WIRE.length;
    const inner = typeof of === 'object' ? planOf(of) : undefined;
    return (byNumber[no] = {
      name,
      tag: no * 8 + wire,
      of: typeof of === 'object' ? 'message' : of,
      repeated,
      inner,
      length,
      agentOnly,
    });
  });
  const lists = slots.filter(({ repeated }) => repeated).map(({ name }) => name);
  const required = slots.map(({ name }) => name).filter((name) => !fields[name]!.optional && !fields[name]!.repeated);
  return { slots, byNumber, lists, required };
}

const writer = new Writer();

function writeOne(slot: Slot, value: unknown): void {
  writer.varint(slot.tag);
  if (slot.of === 'uint') writer.varint(value as number);
  else if (slot.of === 'bool') writer.varint(value ? 1 : 0);
  else if (slot.of === 'string') writer.text(value as string);
  else if (slot.of === 'bytes') writer.bytes(value as Uint8Array);
  else {
    const mark = writer.open();
    writeFields(slot.inner!, value as Record<string, unknown>);
    writer.close(mark);
  }
}

function writeFields(plan: Plan, value: Record<string, unknown>): void {
  for (const slot of plan.slots) {
    const v = value[slot.name];
    if (v === undefined) continue;
    if (slot.repeated) for (const item of v as unknown[]) writeOne(slot, item);
    else writeOne(slot, v);
  }
}

/** Encodes `value` as a protobuf message behind `room` bytes that are left to the caller. */
export function encodeFields<T extends Fields>(fields: T, value: MessageOf<T>, room = 0): Buffer {
  writer.begin(room);
  writeFields(planOf(fields), value as Record<string, unknown>);
  return writer.take();
}

function readOne(reader: Reader, slot: Slot, depth: number, where: string, from: Sender): unknown {
  if (slot.of === 'bool') return reader.varint() !== 0;
  if (slot.of === 'string') return reader.text();
  if (slot.of === 'bytes') {
    const value = reader.bytes();
    if (slot.length !== undefined && value.length !== slot.length)
      throw new ProtocolError(`${where}.${slot.name}: ${value.length} bytes, and it has ${slot.length}`);
    return value;
  }
  if (slot.of === 'uint') {
    const value = reader.varint();
    if (!Number.isSafeInteger(value)) throw new ProtocolError(`${where}.${slot.name}: ${value} is above 2^53 - 1`);
    return value;
  }
  const { end } = reader;
  reader.end = reader.extent();
  const value = readFields(reader, slot.inner!, depth + 1, `${where}.${slot.name}`, from);
  reader.end = end;
  return value;
}

function readFields(reader: Reader, plan: Plan, depth: number, where: string, from: Sender): Record<string, unknown> {
  if (depth > DEEPEST) throw new ProtocolError(`${where}: nested deeper than ${DEEPEST}`);
  const result: Record<string, unknown> = {};
  for (const name of plan.lists) result[name] = [];
  while (reader.at < reader.end) {
    const tag = reader.tag();
    const slot = plan.byNumber[tag >>> 3];
    if (!slot) {
      // Newer peers may add fields.
      reader.skip(tag & 7);
      continue;
    }
    if (tag !== slot.tag)
      throw new ProtocolError(`${where}.${slot.name}: wire type ${tag & 7} where ${slot.tag & 7} belongs`);
    if (slot.agentOnly && from !== 'agent') throw new ProtocolError(`${where}.${slot.name} is not for callers to set`);
    const value = readOne(reader, slot, depth, where, from);
    if (slot.repeated) (result[slot.name] as unknown[]).push(value);
    else result[slot.name] = value;
  }
  for (const name of plan.required)
    if (result[name] === undefined) throw new ProtocolError(`${where}: ${name} is missing`);
  return result;
}

/** Who may have made a message: only an agent, on its link to its keeper, or anyone. */
export type Sender = 'agent' | 'anyone';

/**
 * Decodes and checks a protobuf message, `raw` from `start`. A field that is `agentOnly` is wrong in it unless it comes
 * from an agent.
 * @throws ProtocolError naming the field that is wrong.
 */
export function decodeFields<T extends Fields>(
  fields: T,
  raw: Uint8Array,
  where: string,
  start = 0,
  from: Sender = 'anyone',
): MessageOf<T> {
  try {
    return readFields(new Reader(raw, start), planOf(fields), 0, where, from) as MessageOf<T>;
  } catch (error) {
    if (error instanceof ProtocolError) throw error;
    throw new ProtocolError(`${where}: not a valid message (${(error as Error).message})`);
  }
}

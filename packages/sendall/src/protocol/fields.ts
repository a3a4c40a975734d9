/**
 * Control bodies are protobuf messages (proto2 presence: a field is there or it is not). This file turns a table of
 * fields into an encoder, a decoder and a TypeScript type, so that a message is described once, in `messages.ts`.
 * The bytes are read and written by @bufbuild/protobuf's wire layer; what is ours is the checking.
 *
 * Source: Protocol Buffers encoding, https://protobuf.dev/programming-guides/encoding/
 */
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { ProtocolError } from '../errors.js';

type Scalar = 'uint' | 'bool' | 'string' | 'bytes';
export interface Field {
  readonly no: number;
  readonly of: Scalar | Fields;
  readonly repeated: boolean;
  readonly optional: boolean;
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
export const bytes = (no: number) => one<'bytes'>(no, 'bytes');
export const message = <T extends Fields>(no: number, of: T) => one<T>(no, of);
export const opt = <S, R extends boolean>(field: FieldOf<S, R, false>): FieldOf<S, R, true> => ({
  ...field,
  optional: true,
});
/** A list; one that is empty is not written, so it always decodes to an array. */
export const list = <S>(field: FieldOf<S, false, false>): FieldOf<S, true, false> => ({ ...field, repeated: true });

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true });
const byNumber = new WeakMap<Fields, Map<number, [string, Field]>>();

function numbered(fields: Fields): Map<number, [string, Field]> {
  let map = byNumber.get(fields);
  if (!map) {
    map = new Map(Object.entries(fields).map(([name, field]) => [field.no, [name, field]]));
    byNumber.set(fields, map);
  }
  return map;
}

function writeOne(writer: BinaryWriter, field: Field, value: unknown): void {
  if (field.of === 'uint') writer.tag(field.no, WireType.Varint).uint64(value as number);
  else if (field.of === 'bool') writer.tag(field.no, WireType.Varint).bool(value as boolean);
  else if (field.of === 'string') writer.tag(field.no, WireType.LengthDelimited).bytes(encoder.encode(value as string));
  else if (field.of === 'bytes') writer.tag(field.no, WireType.LengthDelimited).bytes(value as Uint8Array);
  else {
    writer.tag(field.no, WireType.LengthDelimited).fork();
    writeFields(writer, field.of, value as Record<string, unknown>);
    writer.join();
  }
}

function writeFields(writer: BinaryWriter, fields: Fields, value: Record<string, unknown>): void {
  for (const name in fields) {
    const field = fields[name]!;
    const v = value[name];
    if (v === undefined) continue;
    if (field.repeated) for (const item of v as unknown[]) writeOne(writer, field, item);
    else writeOne(writer, field, v);
  }
}

/** Encodes `value` as a protobuf message. */
export function encodeFields<T extends Fields>(fields: T, value: MessageOf<T>): Uint8Array {
  const writer = new BinaryWriter();
  writeFields(writer, fields, value as Record<string, unknown>);
  return writer.finish();
}

function readOne(reader: BinaryReader, field: Field, wire: WireType, depth: number, where: string): unknown {
  const expected = field.of === 'uint' || field.of === 'bool' ? WireType.Varint : WireType.LengthDelimited;
  if (wire !== expected) throw new ProtocolError(`${where}: wire type ${wire} where ${expected} belongs`);
  if (field.of === 'uint') {
    const value = Number(reader.uint64());
    if (!Number.isSafeInteger(value)) throw new ProtocolError(`${where}: ${value} is above 2^53 - 1`);
    return value;
  }
  if (field.of === 'bool') return reader.bool();
  const raw = reader.bytes();
  if (field.of === 'bytes') return raw;
  if (field.of === 'string') return decoder.decode(raw);
  return readFields(raw, field.of, depth + 1, where);
}

function readFields(raw: Uint8Array, fields: Fields, depth: number, where: string): Record<string, unknown> {
  if (depth > 8) throw new ProtocolError(`${where}: nested deeper than 8`);
  const known = numbered(fields);
  const result: Record<string, unknown> = {};
  for (const name in fields) if (fields[name]!.repeated) result[name] = [];
  const reader = new BinaryReader(raw);
  while (reader.pos < reader.len) {
    const [no, wire] = reader.tag();
    const entry = known.get(no);
    if (!entry) {
      // Newer peers may add fields; groups do not exist in this protocol, so skipping cannot nest.
      if (wire === WireType.StartGroup || wire === WireType.EndGroup) throw new ProtocolError(`${where}: a group`);
      reader.skip(wire);
      continue;
    }
    const [name, field] = entry;
    const value = readOne(reader, field, wire, depth, `${where}.${name}`);
    if (field.repeated) (result[name] as unknown[]).push(value);
    else result[name] = value;
  }
  for (const name in fields) {
    const field = fields[name]!;
    if (!field.optional && !field.repeated && result[name] === undefined)
      throw new ProtocolError(`${where}: ${name} is missing`);
  }
  return result;
}

/** Decodes and checks a protobuf message. Throws ProtocolError naming the field that is wrong. */
export function decodeFields<T extends Fields>(fields: T, raw: Uint8Array, where: string): MessageOf<T> {
  try {
    return readFields(raw, fields, 0, where) as MessageOf<T>;
  } catch (error) {
    if (error instanceof ProtocolError) throw error;
    throw new ProtocolError(`${where}: not a valid message (${(error as Error).message})`);
  }
}

import type { Fields } from '../../src/protocol/fields.js';
import { MESSAGES, SPEC_FIELDS } from '../../src/protocol/messages.js';

const scalars = { uint: 'uint64', bool: 'bool', string: 'string', bytes: 'bytes' } as const;
const typeName = (field: string) => field[0]!.toUpperCase() + field.slice(1);
const snake = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

function messageText(name: string, fields: Fields, indent = ''): string {
  const nested: string[] = [];
  const lines = Object.entries(fields).map(([field, { no, of, repeated, optional }]) => {
    if (typeof of === 'object') nested.push(messageText(typeName(field), of, `${indent}  `));
    const type = typeof of === 'object' ? typeName(field) : scalars[of];
    return `${indent}  ${repeated ? 'repeated' : optional ? 'optional' : 'required'} ${type} ${snake(field)} = ${no};`;
  });
  return [`${indent}message ${name} {`, ...nested, ...lines, `${indent}}`].join('\n');
}

/** The message table in the language of protobuf. */
export function protoText(): string {
  const parts = Object.entries(MESSAGES).map(([name, [type, fields]]) => {
    const hex = `0x${type.toString(16).padStart(2, '0')}`;
    return `// frame type ${hex}\n${messageText(name, fields)}`;
  });
  return `// The control messages of sendall's remote protocol, version 1. A frame is
//   len:u32be | type:u8 | flags:u8 = 0 | reserved:u16 = 0 | alias:u32be | body
// with one of these messages as its body. DATA (type 0x20) has a body of its own:
//   stream:u8 | gseq:u48be | offset:u64be | bytes
// Generated from src/protocol/messages.ts; a test keeps the two equal.
syntax = "proto2";
package sendall;

${messageText('Spec', SPEC_FIELDS)}

${parts.join('\n\n')}
`;
}

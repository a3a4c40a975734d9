/** How a protocol says which answer belongs to which request. */

type Direction = 'up' | 'down';

/** What a message is in a dialogue. */
export interface Role {
  readonly kind: 'request' | 'answer';
  /** Equal for a request and its answers. */
  readonly id: string;
  /** More answers to the request follow. @default false */
  readonly more?: boolean;
  /** No answer comes. @default false */
  readonly oneWay?: boolean;
  /** An answer that may come without a request. @default false */
  readonly spontaneous?: boolean;
}

/** The role of a message; undefined for one that is neither request nor answer. */
export type Identify = (payload: Buffer, direction: Direction) => Role | undefined;

const ORDER = '';

/** The first request gets the first answer, and so on. */
export const byOrder: Identify = (_payload, direction) => ({
  kind: direction === 'up' ? 'request' : 'answer',
  id: ORDER,
});

/** Bytes at the same place in requests and answers. */
export function byBytes(at: number, length: number, answerAt = at): Identify {
  return (payload, direction) => {
    const from = direction === 'up' ? at : answerAt;
    if (payload.length < from + length) return undefined;
    return { kind: direction === 'up' ? 'request' : 'answer', id: payload.toString('hex', from, from + length) };
  };
}

/** Longest JSON text that is parsed for its id. */
const LONGEST_JSON = 1 << 20;

/** JSON-RPC: both sides may ask. Source: JSON-RPC 2.0 specification, sections 4 and 5. */
export const byJson: Identify = (payload, direction) => {
  const value = jsonObject(payload);
  const id = value?.['id'];
  if (typeof id !== 'number' && typeof id !== 'string') return undefined;
  const kind = 'method' in value! ? 'request' : 'result' in value! || 'error' in value! ? 'answer' : undefined;
  const asked = kind ?? (direction === 'up' ? 'request' : 'answer');
  const asker = (direction === 'up') === (asked === 'request') ? 'client' : 'server';
  return { kind: asked, id: `${asker} ${JSON.stringify(id)}` };
};

function jsonObject(payload: Buffer): Record<string, unknown> | undefined {
  if (payload.length > LONGEST_JSON || !/^\s*\{/.test(payload.toString('latin1', 0, 16))) return undefined;
  try {
    return JSON.parse(payload.toString()) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}

/** Kafka: a length, then the correlation id, in requests behind the key and version. Source: its protocol guide. */
const kafka = byBytes(8, 4, 4);

/** ONC RPC: a record mark, the xid, then 0 for a call, 1 for a reply. Source: RFC 5531, section 9. */
const oncRpc: Identify = (payload, direction) => {
  if (payload.length < 12) return undefined;
  const call = payload.readUInt32BE(8) === 0;
  const asker = (direction === 'up') === call ? 'client' : 'server';
  return { kind: call ? 'request' : 'answer', id: `${asker} ${payload.readUInt32BE(4)}` };
};

/** Tags of LDAP operations. Source: RFC 4511, section 4. */
const LDAP_MORE = new Set([0x64, 0x73, 0x79]);
const LDAP_ANSWERS = new Set([0x61, 0x65, 0x67, 0x69, 0x6b, 0x6d, 0x6f, 0x78, ...LDAP_MORE]);
const LDAP_ONE_WAY = new Set([0x42, 0x50]);

/** LDAP: a sequence that begins with the number of the message. */
const ldap: Identify = (payload) => {
  if (payload[0] !== 0x30) return undefined;
  const first = payload[1] ?? 0;
  const at = first < 128 ? 2 : 2 + (first & 0x7f);
  const size = payload[at + 1] ?? 0;
  if (payload[at] !== 2 || size < 1 || size > 4 || payload.length <= at + 2 + size) return undefined;
  const id = String(payload.readUIntBE(at + 2, size));
  const tag = payload[at + 2 + size]!;
  if (LDAP_ANSWERS.has(tag)) return { kind: 'answer', id, more: LDAP_MORE.has(tag) };
  return { kind: 'request', id, oneWay: LDAP_ONE_WAY.has(tag) };
};

/** GIOP 1.2 and later: the request id follows the header. Source: CORBA 3.4, part 2, section 9.4. */
const giop: Identify = (payload) => {
  if (payload.length < 16 || payload[4] !== 1 || payload[5]! < 2) return undefined;
  const kinds = [{ kind: 'request' }, { kind: 'answer' }, undefined, { kind: 'request' }, { kind: 'answer' }] as const;
  const role = kinds[payload[7]!];
  const little = (payload[6]! & 1) === 1;
  return role && { ...role, id: String(little ? payload.readUInt32LE(12) : payload.readUInt32BE(12)) };
};

/** FastCGI: from a BEGIN_REQUEST to its END_REQUEST. Source: FastCGI specification 1.0, sections 5.1 and 5.5. */
const fastCgi: Identify = (payload) => {
  if (payload.length < 4 || (payload[1] !== 1 && payload[1] !== 3)) return undefined;
  return { kind: payload[1] === 1 ? 'request' : 'answer', id: String(payload.readUInt16BE(2)) };
};

const [QUERY, SYNC, CALL, READY] = [0x51, 0x53, 0x46, 0x5a];

/** PostgreSQL: what the client asks ends with ReadyForQuery. Source: its documentation, "Message Flow". */
const postgres: Identify = ([type], direction) => {
  if (direction === 'down') return { kind: 'answer', id: ORDER, more: type !== READY, spontaneous: true };
  return type === QUERY || type === SYNC || type === CALL ? { kind: 'request', id: ORDER } : undefined;
};

/** DNS: an id, then flags whose highest bit marks answers. Source: RFC 1035, section 4.1.1. */
export const dns: Identify = (payload) => {
  if (payload.length < 12) return undefined;
  return { kind: payload[2]! & 0x80 ? 'answer' : 'request', id: payload.toString('hex', 0, 2) };
};

/** The ways to pair that have a name. */
export const IDENTITIES: Readonly<Record<string, Identify>> = {
  order: byOrder,
  json: byJson,
  kafka,
  oncrpc: oncRpc,
  ldap,
  giop,
  fcgi: fastCgi,
  postgres,
  dns,
};

/** Framings whose protocol is known. */
const ofFraming: Readonly<Record<string, Identify>> = {
  kafka,
  oncrpc: oncRpc,
  'asn1-ber': ldap,
  giop,
  fcgi: fastCgi,
  postgres,
};

/** What fits a connection with this framing and first request. */
export function identifyAs(framing: string, first: Buffer): Identify {
  const known = ofFraming[framing.split(',', 1)[0]!];
  return known ?? (byJson(first, 'up') ? byJson : byOrder);
}

/**
 * Reads a way to pair: one of the names, or AT:LENGTH, the place of an id, the answers' behind a comma if it differs.
 * @throws Error that says what is allowed
 */
export function parseIdentify(how: string): Identify {
  if (Object.hasOwn(IDENTITIES, how)) return IDENTITIES[how]!;
  const match = /^(\d{1,6}):(\d{1,2})(?:,(\d{1,6}))?$/.exec(how);
  if (match && Number(match[2]) > 0) {
    return byBytes(Number(match[1]), Number(match[2]), Number(match[3] ?? match[1]));
  }
  throw new Error(
    `"${how}" is no way to pair: expected auto, ${Object.keys(IDENTITIES).join(', ')} or AT:LENGTH, the place of an id`,
  );
}

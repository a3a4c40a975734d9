/** Recognizes protocols by their first bytes. */

/**
 * A protocol recognized by its first bytes, and its framing. Statistics would not find these framings, because other
 * bytes precede the length or the stream begins with bytes of another kind.
 */
export interface Recognized {
  readonly protocol: string;
  /** A spec of `parseFraming`. */
  readonly framing: string;
  /** The next bytes decide how the stream continues. */
  readonly undecided?: boolean;
}

/** The protocol of a direction that begins with these bytes, if known. */
export function recognize(bytes: Buffer): Recognized | undefined {
  return tls(bytes, 0) ?? amqp(bytes) ?? http2(bytes) ?? postgresClient(bytes) ?? postgresServer(bytes);
}

const startsWith = (bytes: Buffer, text: string): boolean =>
  bytes.length >= text.length && bytes.toString('latin1', 0, text.length) === text;

/** The largest record of TLS 1.2, including a cipher's overhead. Source: RFC 5246, section 6.2.3. */
const LARGEST_RECORD = 16_384 + 2048;

/** Streams of TLS begin with a hello or an alert. Source: RFC 8446, sections 4 and 5.1. */
function tls(bytes: Buffer, at: number): Recognized | undefined {
  if (bytes.length < at + 6) return undefined;
  const [type, major = 0, minor = 0] = bytes.subarray(at);
  const size = bytes.readUInt16BE(at + 3);
  if (major !== 3 || minor > 4 || size > LARGEST_RECORD) return undefined;
  const handshake = bytes[at + 5];
  const hello = type === 22 && (handshake === 1 || handshake === 2);
  const alert = type === 21 && size === 2 && (handshake === 1 || handshake === 2);
  return hello || alert ? { protocol: 'TLS', framing: `u16be,offset=3,strip=0${prefaceOf(at)}` } : undefined;
}

const prefaceOf = (size: number): string => (size === 0 ? '' : `,preface=${size}`);

const AMQP_FRAMES = 'u32be,offset=3,adjust=1,strip=0';

/**
 * A protocol header of the client, or of a server that wants another version; or a server's connection.start on channel
 * 0. Sources: AMQP 0-9-1, sections 2.2.4 and 2.3.5; AMQP 1.0, sections 2.2 and 2.3.
 */
function amqp(bytes: Buffer): Recognized | undefined {
  if (startsWith(bytes, 'AMQP') && bytes.length >= 8) {
    const version = bytes.toString('hex', 4, 8);
    if (/^(?:0000|0101)/.test(version)) return { protocol: 'AMQP 0-9-1', framing: `${AMQP_FRAMES},preface=8` };
    // After SASL or TLS a second header follows, which this framing does not parse.
    return /^0[023]010000$/.test(version)
      ? { protocol: 'AMQP 1.0', framing: 'u32be,includes-header,strip=0,preface=8' }
      : undefined;
  }
  const start = bytes.length >= 11 && bytes[0] === 1 && bytes.readUInt16BE(1) === 0;
  return start && bytes.readUInt32BE(7) === 0x000a000a ? { protocol: 'AMQP 0-9-1', framing: AMQP_FRAMES } : undefined;
}

/** A client's connection preface. Source: RFC 9113, section 3.4. */
function http2(bytes: Buffer): Recognized | undefined {
  return startsWith(bytes, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
    ? { protocol: 'HTTP/2', framing: 'u24be,adjust=6,strip=0,preface=24' }
    : undefined;
}

const CANCEL_REQUEST = 80_877_102;
const SSL_REQUEST = 80_877_103;
const GSS_ENC_REQUEST = 80_877_104;
/** The server's own limit. */
const LONGEST_STARTUP = 10_000;

/**
 * A client's first messages have no type byte: requests for encryption, the startup message, or a cancellation. Their
 * total length is the preface. Source: PostgreSQL's documentation, "Message Formats".
 */
function postgresClient(bytes: Buffer): Recognized | undefined {
  let at = 0;
  let undecided = true;
  while (bytes.length >= at + 8) {
    const size = bytes.readUInt32BE(at);
    const code = bytes.readUInt32BE(at + 4);
    const requests = size === 8 && (code === SSL_REQUEST || code === GSS_ENC_REQUEST);
    const cancels = size === 16 && code === CANCEL_REQUEST;
    if (!requests && !cancels && !beginsSession(bytes, at, size, code)) break;
    at += size;
    undecided = requests;
    if (!requests) break;
  }
  if (at === 0) return undefined;
  // After a request for encryption comes TLS, GSSAPI or the startup message.
  return tls(bytes, at) ?? { protocol: 'PostgreSQL', framing: `postgres,preface=${at}`, undecided };
}

/** A startup message: protocol 3, then NUL-terminated names and values, and a NUL. */
function beginsSession(bytes: Buffer, at: number, size: number, code: number): boolean {
  if (code >>> 16 !== 3 || size < 9 || size > LONGEST_STARTUP) return false;
  const end = at + size;
  const first = bytes[at + 8];
  const named = first === undefined || first === 0 || (first >= 0x5f && first <= 0x7a);
  return named && (bytes.length < end || bytes[end - 1] === 0);
}

const LETTER_R = 0x52;

/** The server's answer: one byte about encryption if requested, then authentication. */
function postgresServer(bytes: Buffer): Recognized | undefined {
  const answer = bytes.toString('latin1', 0, 1);
  if (answer === 'S' || answer === 'G') return tls(bytes, 1);
  const at = answer === 'N' ? 1 : 0;
  if (bytes.length < at + 9 || bytes[at] !== LETTER_R) return undefined;
  const size = bytes.readUInt32BE(at + 1);
  const kind = bytes.readUInt32BE(at + 5);
  return size >= 8 && size < 1000 && kind <= 12
    ? { protocol: 'PostgreSQL', framing: `postgres${prefaceOf(at)}` }
    : undefined;
}

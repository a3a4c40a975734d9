/** Addresses of brokers (`nats://n1,n2,n3/FLEET`) and of hosts behind them (`nats:ID`). */
import { isIPv6 } from 'node:net';
import { UsageError } from '../errors.js';

/** The port of a broker's address without one. */
const DEFAULT_PORT = 4222;
const DEFAULT_FLEET = 'main';
/** Most servers in one address. */
const MAX_SERVERS = 16;
/** Bytes of a pin that make a host's id. */
const ID_BYTES = 16;
/** Source: RFC 4648 section 6, in lower case and without padding. */
const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567';

/** Without a broker, `nats:` leads nowhere. */
export const NO_ENGINE =
  'no broker is set up here: name one (sendall engine nats://HOST:PORT), or use a tls:// address';

export interface NatsAddress {
  /** HOST:PORT of each server. */
  readonly servers: readonly string[];
  /** The part of the broker's subjects that these hosts and callers share. */
  readonly fleet: string;
}

/**
 * Parses `nats://HOST[:PORT],…[/FLEET]`.
 * @throws UsageError for anything else, and for a password in the address, which the error does not repeat.
 */
export function parseNatsUrl(url: string): NatsAddress {
  const [, list, fleet = DEFAULT_FLEET] = /^nats:\/\/([^/\s]+)(?:\/([A-Za-z0-9_-]{1,63})?)?$/.exec(url) ?? [];
  if (list?.includes('@') || /^nats:\/\/[^/]*@/.test(url))
    throw new UsageError(
      'an address of a broker holds no user and no password: other users see command lines; put them into a file and give it with --creds or --nkey',
    );
  const servers = list?.split(',').map(serverOf) ?? [];
  if (!servers.length || servers.length > MAX_SERVERS || servers.includes(undefined))
    throw new UsageError(
      `${JSON.stringify(url.slice(0, 300))} is not the address of a broker: write nats://HOST:PORT,… (at most ${MAX_SERVERS} servers), and /FLEET after it for a fleet of its own`,
    );
  return { servers: servers as string[], fleet };
}

function serverOf(text: string): string | undefined {
  const [, literal, name, digits] = /^(?:\[([^\]]*)\]|([\p{L}\p{N}._-]+))(?::(\d{1,5}))?$/u.exec(text) ?? [];
  const port = digits === undefined ? DEFAULT_PORT : Number(digits);
  if (port < 1 || port > 65_535) return undefined;
  if (literal !== undefined) return isIPv6(literal) ? `[${literal}]:${port}` : undefined;
  return name === undefined || name.length > 253 ? undefined : `${name}:${port}`;
}

/** The URL of a broker's address, with every port. */
export function formatNatsUrl({ servers, fleet }: NatsAddress): string {
  return `nats://${servers.join(',')}${fleet === DEFAULT_FLEET ? '' : `/${fleet}`}`;
}

/** Bytes as text that subjects can hold. */
export function base32(bytes: Uint8Array): string {
  let text = '';
  let bits = 0;
  let held = 0;
  for (const byte of bytes) {
    held = (held << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) text += BASE32[(held >> (bits - 5)) & 31];
    held &= (1 << bits) - 1;
  }
  return bits ? text + BASE32[(held << (5 - bits)) & 31] : text;
}

/** The id by which a broker knows the host or caller with this key: the first 16 bytes of its pin. */
export function idOfPin(pin: string): string {
  return base32(Buffer.from(pin.slice('SHA256:'.length), 'base64url').subarray(0, ID_BYTES));
}

/** True for `nats:ID`, which is a host's address; `nats://…` is a broker's. */
export const isNatsHost = (url: string): boolean => /^nats:(?!\/)/i.test(url);

/**
 * The id in `nats:ID`.
 * @throws UsageError for anything else.
 */
export function parseNatsHost(url: string): string {
  const id = /^nats:([a-z2-7]{26})$/i.exec(url)?.[1];
  if (id === undefined)
    throw new UsageError(
      `${JSON.stringify(url.slice(0, 300))} is not a host behind a broker: write nats: and the 26 letters and digits that sendall pair --new shows on its machine`,
    );
  return id.toLowerCase();
}

/** The address of the host with this pin. */
export const natsHostOf = (pin: string): string => `nats:${idOfPin(pin)}`;

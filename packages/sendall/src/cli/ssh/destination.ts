/** HOST: how it is written, and which known host it means. */
import { isIPv6 } from 'node:net';
import { UsageError } from '../../errors.js';
import { AllHosts, resolveHome } from '../../index.js';
import { canonicalNetworkUrl, isNatsHost, parseTlsUrl } from '../../internal.js';
import { portOf } from './keywords.js';

interface Destination {
  readonly host: string;
  readonly user?: string;
  readonly port?: number;
}

const URI = 'ssh://';

/**
 * Splits `[USER@]HOST` at its last "@", or `ssh://[USER@]HOST[:PORT]`.
 * @throws UsageError
 */
export function splitDestination(text: string): Destination {
  if (text.slice(0, URI.length).toLowerCase() !== URI) return splitUser(text);
  const { host: place, user } = splitUser(text.slice(URI.length).replace(/\/$/, ''));
  const [, literal, name, digits] = /^(?:\[([^\]]*)\]|([^:/[\]]*))(?::(\d*))?$/.exec(place) ?? [];
  const host = literal ?? name;
  if (!host || (literal !== undefined && !isIPv6(literal)))
    throw new UsageError(`"${text.slice(0, 200)}" is not ssh://[USER@]HOST[:PORT]`);
  return {
    host,
    // A user's parameters, which some programs write behind a semicolon, and escaped characters.
    ...(user === undefined ? {} : { user: unescaped(user) }),
    ...(digits ? { port: portOf(digits, text.slice(0, 200)) } : {}),
  };
}

function splitUser(text: string): Destination {
  const at = text.lastIndexOf('@');
  return at < 0 ? { host: text } : { user: text.slice(0, at), host: text.slice(at + 1) };
}

function unescaped(user: string): string {
  try {
    return decodeURIComponent(user.split(';', 1)[0]!);
  } catch {
    throw new UsageError(`the user "${user.slice(0, 80)}" is not written as in a URI`);
  }
}

/** A host that can be connected to. */
export interface Place {
  /** Its name, or its address in full. */
  readonly target: string;
  /** Undefined for a name that nothing here knows. */
  readonly url: string | undefined;
}

/**
 * The host meant: by its name, else by its address, in full or without scheme and port. A port counts for an address
 * alone, and must be the one that is known: behind another one could be another machine.
 * @throws UsageError when the port is another one, or several hosts are at that address.
 */
export function placeOf(name: string, port: number | undefined): Place {
  if (name === 'local') return { target: name, url: `unix:${resolveHome().agentSocket}` };
  const hosts = AllHosts.of(resolveHome());
  const known = hosts.get(name) ?? hosts.get(name.toLowerCase());
  if (known) return { target: known.name, url: known.url };
  if (name.startsWith('tls://') || isNatsHost(name)) {
    if (port !== undefined && !isNatsHost(name) && parseTlsUrl(name).port !== port)
      throw new UsageError(`${name} says another port than ${port}: leave out the port`);
    return { target: name, url: hosts.at(name)?.url ?? canonicalNetworkUrl(name) };
  }
  const address = addressOf(name);
  const there = address === undefined ? [] : hosts.list().filter(({ url }) => isAt(url, address));
  const fitting = port === undefined ? there : there.filter(({ url }) => parseTlsUrl(url).port === port);
  if (there.length && !fitting.length) {
    const ports = there.map((each) => `${each.name} (${parseTlsUrl(each.url).port})`).join(', ');
    throw new UsageError(`no host is known at port ${port} of ${name}, but ${ports}: leave out the port`);
  }
  if (fitting.length > 1)
    throw new UsageError(`${name} is the address of ${fitting.map((each) => each.name).join(', ')}: say which one`);
  const [host] = fitting;
  return host ? { target: host.name, url: host.url } : { target: name, url: undefined };
}

/** An address in its one spelling; undefined for what can be none. */
function addressOf(name: string): string | undefined {
  const bare = name.startsWith('[') && name.endsWith(']') ? name.slice(1, -1) : name;
  try {
    return parseTlsUrl(canonicalNetworkUrl(`tls://${isIPv6(bare) ? `[${bare}]` : bare}`)).host;
  } catch {
    return undefined;
  }
}

const isAt = (url: string, address: string): boolean =>
  url.startsWith('tls://') && parseTlsUrl(canonicalNetworkUrl(url)).host === address;

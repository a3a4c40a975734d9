/** The hosts this user can name: hosts.json, where each has an address, its agent's pinned key and tags. */
import { UsageError } from '../errors.js';
import type { Home } from '../home.js';
import { parseFingerprint } from '../link/identity.js';
import { readPrivateFile, updatePrivateFile } from '../link/private-file.js';
import { parseTlsUrl } from '../link/tls.js';

export interface KnownHost {
  readonly name: string;
  /** tls://HOST:PORT */
  readonly url: string;
  /** Fingerprint of the agent's key. */
  readonly pin: string;
  readonly tags: Readonly<Record<string, string>>;
  /** ISO 8601, UTC. */
  readonly addedAt: string;
}

const RESERVED = new Set(['local', 'all']);

/** Checks a host's name. Throws UsageError. */
export function checkHostName(name: string): string {
  if (RESERVED.has(name)) throw new UsageError(`"${name}" is a word of its own and cannot name a host: choose another`);
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(name))
    throw new UsageError(
      `${JSON.stringify(name.slice(0, 80))} cannot name a host: use 1 to 63 letters, digits, dots, dashes and underscores, the first a letter or digit`,
    );
  return name;
}

/** Reads `K=V`. Letters of any script; the value may be empty. Throws UsageError. */
export function parseTag(text: string): [key: string, value: string] {
  const match = /^(\p{L}[\p{L}\p{N}._-]{0,62})=([\p{L}\p{N}._:/+-]{0,128})$/u.exec(text);
  if (!match)
    throw new UsageError(
      `${JSON.stringify(text.slice(0, 80))} is not a tag: write NAME=VALUE of letters, digits and . _ - (the value may also have : / +)`,
    );
  return [match[1]!, match[2]!];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Checks one entry as it came from the file. Throws UsageError. */
function hostFrom(name: string, entry: unknown): KnownHost {
  checkHostName(name);
  if (!isRecord(entry)) throw new UsageError('it is not an object');
  const { url, pin, tags = {}, addedAt } = entry;
  if (typeof url !== 'string') throw new UsageError('it has no url');
  parseTlsUrl(url);
  if (typeof pin !== 'string') throw new UsageError('it has no pin');
  parseFingerprint(pin);
  if (!isRecord(tags)) throw new UsageError('its tags are not an object');
  const pairs = Object.entries(tags).map(([key, value]) => parseTag(`${key}=${String(value)}`));
  return { name, url, pin, tags: Object.fromEntries(pairs), addedAt: typeof addedAt === 'string' ? addedAt : '' };
}

function parseHosts(text: string | undefined, path: string): Map<string, KnownHost> {
  if (text === undefined) return new Map();
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (cause) {
    throw new UsageError(`${path} is not JSON: correct it, or move it away and pair again`, { cause });
  }
  if (!isRecord(document)) throw new UsageError(`${path} does not hold hosts by name: correct it, or move it away`);
  return new Map(
    Object.entries(document).map(([name, entry]) => {
      try {
        return [name, hostFrom(name, entry)];
      } catch (error) {
        throw new UsageError(
          `${path}: the entry ${JSON.stringify(name.slice(0, 80))} is wrong: ${(error as Error).message}`,
          { cause: error },
        );
      }
    }),
  );
}

/**
 * The hosts of one home. The file is read at each call, so other processes' changes are seen, and several processes may
 * change it at once. Every method throws UsageError when the file is not what it should be; it is left alone then.
 */
export class KnownHosts {
  readonly #path: string;

  constructor(home: Home) {
    this.#path = home.hostsFile;
  }

  /** All hosts, by name. */
  list(): KnownHost[] {
    return [...this.#read().values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  get(name: string): KnownHost | undefined {
    return this.#read().get(name);
  }

  /** Adds a host. Throws UsageError when the name is taken. */
  async add(host: { name: string; url: string; pin: string; tags?: Record<string, string> }): Promise<KnownHost> {
    const added = hostFrom(host.name, { ...host, addedAt: new Date().toISOString() });
    await this.#change((hosts) => {
      if (hosts.has(added.name))
        throw new UsageError(
          `"${added.name}" is known already: choose another name, or sendall hosts rm ${added.name} first`,
        );
      hosts.set(added.name, added);
    });
    return added;
  }

  /** Adds a host that has just proved its key, or gives a known one the new address and key. Its tags stay. */
  async pair(host: { name: string; url: string; pin: string }): Promise<{ host: KnownHost; before?: KnownHost }> {
    let before: KnownHost | undefined;
    let after = hostFrom(host.name, { ...host, addedAt: new Date().toISOString() });
    await this.#change((hosts) => {
      before = hosts.get(host.name);
      after = { ...after, tags: before?.tags ?? {} };
      hosts.set(host.name, after);
    });
    return before ? { host: after, before } : { host: after };
  }

  /** Removes a host. Throws UsageError when there is none of that name. */
  async remove(name: string): Promise<void> {
    await this.#change((hosts) => {
      if (!hosts.delete(name)) throw unknownHost(name);
    });
  }

  /** Sets tags of a host, on top of those it has. Throws UsageError when there is none of that name. */
  async set(name: string, tags: Record<string, string>): Promise<KnownHost> {
    let after: KnownHost | undefined;
    await this.#change((hosts) => {
      const host = hosts.get(name);
      if (!host) throw unknownHost(name);
      after = hostFrom(name, { ...host, tags: { ...host.tags, ...tags } });
      hosts.set(name, after);
    });
    return after!;
  }

  #read(): Map<string, KnownHost> {
    return parseHosts(readPrivateFile(this.#path), this.#path);
  }

  #change(change: (hosts: Map<string, KnownHost>) => void): Promise<void> {
    return updatePrivateFile(this.#path, (text) => {
      const hosts = parseHosts(text, this.#path);
      change(hosts);
      const entries = [...hosts.values()].map(({ name, ...entry }) => [name, entry] as const);
      return `${JSON.stringify(Object.fromEntries(entries), null, 2)}\n`;
    });
  }
}

function unknownHost(name: string): UsageError {
  return new UsageError(`no host is called ${JSON.stringify(name.slice(0, 80))}: sendall hosts lists those that are`);
}

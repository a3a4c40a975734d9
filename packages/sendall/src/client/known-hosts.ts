/** The hosts this user can name. hosts.json holds each one's address, its agent's pinned key, and tags. */
import { UsageError } from '../errors.js';
import type { Home } from '../home.js';
import { parseFingerprint } from '../keys/fingerprint.js';
import { isRecord, RecordFile, type Json } from '../files/record-file.js';
import { canonicalNetworkUrl, checkNetworkUrl } from '../text/address.js';
import { checkHostName, type Inventory } from './inventory.js';

/** A host this user knows: its address, key and tags. */
export interface KnownHost {
  readonly name: string;
  /** tls://HOST:PORT or nats:ID */
  readonly url: string;
  /** Fingerprint of the agent's key. */
  readonly pin: string;
  readonly tags: Readonly<Record<string, string>>;
  /** ISO 8601, UTC. */
  readonly addedAt: string;
  /** How ssh reaches it, if `sendall hosts install` put its agent there. */
  readonly installed?: HostInstallation;
  /**
   * The identities that paired with it, by their names.
   * @default this user's own, "default"
   */
  readonly identities?: readonly string[];
}

/** How an agent came to a host by ssh. */
export interface HostInstallation {
  /** The destination as ssh takes it. */
  readonly ssh: string;
  /** For the whole system, as root, rather than for one user. */
  readonly system: boolean;
}

/**
 * Reads `K=V`. Letters of any script; the value may be empty.
 * @throws UsageError when it is wrong.
 */
export function parseTag(text: string): [key: string, value: string] {
  const match = /^(\p{L}[\p{L}\p{N}._-]{0,62})=([\p{L}\p{N}._:/+-]{0,128})$/u.exec(text);
  if (!match)
    throw new UsageError(
      `${JSON.stringify(text.slice(0, 80))} is not a tag: write NAME=VALUE of letters, digits and . _ - (the value may also have : / +)`,
    );
  return [match[1]!, match[2]!];
}

/** What the file says of a host, besides its name. */
export type Entry = Omit<KnownHost, 'name'>;

/**
 * Checks one entry read from the file.
 * @throws UsageError when it is wrong.
 */
function checkEntry(name: string, { url, pin, tags = {}, addedAt, installed, identities }: Json): Entry {
  checkHostName(name);
  if (typeof url !== 'string') throw new UsageError('it has no url');
  checkNetworkUrl(url);
  if (typeof pin !== 'string') throw new UsageError('it has no pin');
  parseFingerprint(pin);
  if (!isRecord(tags)) throw new UsageError('its tags are not an object');
  if (identities !== undefined && !(Array.isArray(identities) && identities.every((each) => typeof each === 'string')))
    throw new UsageError('its identities are not a list of names');
  const pairs = Object.entries(tags).map(([key, value]) => parseTag(`${key}=${String(value)}`));
  return {
    url,
    pin,
    tags: Object.fromEntries(pairs),
    addedAt: typeof addedAt === 'string' ? addedAt : '',
    ...(installed !== undefined && { installed: checkInstalled(installed) }),
    ...(identities !== undefined && { identities }),
  };
}

function checkInstalled(value: unknown): HostInstallation {
  if (!isRecord(value) || typeof value.ssh !== 'string') throw new UsageError('its "installed" is not { ssh, system }');
  return { ssh: value.ssh, system: value.system === true };
}

/** This user's own identity; see keys/identity.ts. */
const DEFAULT = 'default';

/** By file. All callers in a process share one instance and its cache. */
const instances = new Map<string, KnownHosts>();

/**
 * The hosts of one home. The file is read and parsed once. Each later call costs one `stat` and reads the file again when
 * its inode, size or times have changed, so changes by other processes are seen; several processes may write at the same
 * time.
 * @throws UsageError from every method when the file is not valid. The file stays as it is.
 */
export class KnownHosts implements Inventory {
  readonly #file: RecordFile<Entry>;
  #indexed: ReadonlyMap<string, Entry> | undefined;
  #byUrl: ReadonlyMap<string, string> = new Map();

  private constructor(path: string) {
    this.#file = new RecordFile(path, checkEntry);
  }

  /** The known hosts of `home`: one instance for each process. */
  static of({ hostsFile }: Home): KnownHosts {
    let hosts = instances.get(hostsFile);
    if (!hosts) instances.set(hostsFile, (hosts = new KnownHosts(hostsFile)));
    return hosts;
  }

  /** @internal What the file says, by name: the same map as long as the file is unchanged. */
  get entries(): ReadonlyMap<string, Entry> {
    return this.#file.read();
  }

  /** All hosts, by name. */
  list(): KnownHost[] {
    const hosts = [...this.#file.read()].map(([name, entry]) => ({ name, ...entry }));
    return hosts.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  get(name: string): KnownHost | undefined {
    const entry = this.#file.read().get(name);
    return entry && { name, ...entry };
  }

  /**
   * The host at an address, in any spelling of it.
   * @throws UsageError when `url` is not an address.
   */
  at(url: string): KnownHost | undefined {
    const hosts = this.#file.read();
    if (hosts !== this.#indexed) {
      this.#indexed = hosts;
      this.#byUrl = new Map([...hosts].map(([name, entry]) => [canonicalNetworkUrl(entry.url), name]));
    }
    const name = this.#byUrl.get(canonicalNetworkUrl(url));
    return name === undefined ? undefined : this.get(name);
  }

  /**
   * Adds a host.
   * @throws UsageError when the name is taken.
   */
  async add(host: { name: string; url: string; pin: string; tags?: Record<string, string> }): Promise<KnownHost> {
    const { name } = host;
    const entry = checkEntry(name, { ...host, addedAt: new Date().toISOString() });
    await this.#file.change((hosts) => {
      if (hosts.has(name))
        throw new UsageError(`"${name}" is known already: choose another name, or sendall hosts rm ${name} first`);
      hosts.set(name, entry);
    });
    return { name, ...entry };
  }

  /**
   * Adds a host that has just proved its key, or gives a known one the new address and key; its tags stay, and so does
   * how it was installed. `identity`: which one has paired with it. Resolves to the previous entry, if there was one.
   */
  async pair(host: {
    name: string;
    url: string;
    pin: string;
    installed?: HostInstallation;
    tags?: Record<string, string>;
    identity?: string | undefined;
  }): Promise<KnownHost | undefined> {
    const { name, identity = DEFAULT } = host;
    const entry = checkEntry(name, { ...host, addedAt: new Date().toISOString() });
    let before: Entry | undefined;
    await this.#file.change((hosts) => {
      before = hosts.get(name);
      // Another key is another machine, which knows none of our keys but this one.
      const known = before?.pin === entry.pin ? (before.identities ?? [DEFAULT]) : [];
      const { identities: _, ...kept } = { ...before, ...entry, tags: { ...before?.tags, ...entry.tags } };
      hosts.set(name, { ...kept, ...identitiesOf([...known, identity]) });
    });
    return before && { name, ...before };
  }

  /**
   * Removes hosts.
   * @throws UsageError when a name is unknown; then no host is removed.
   */
  async remove(...names: readonly string[]): Promise<void> {
    await this.#file.change((hosts) => {
      for (const name of names) if (!hosts.delete(name)) throw unknownHost(name);
    });
  }

  /** Forgets that an identity has paired with hosts. Resolves to their names. */
  async forgetIdentity(identity: string): Promise<string[]> {
    const found: string[] = [];
    await this.#file.change((hosts) => {
      for (const [name, { identities, ...entry }] of hosts) {
        if (!identities?.includes(identity)) continue;
        found.push(name);
        hosts.set(name, { ...entry, identities: identities.filter((each) => each !== identity) });
      }
    });
    return found;
  }

  /**
   * Sets tags of a host, keeping its other tags.
   * @throws UsageError when the name is unknown.
   */
  async set(name: string, tags: Record<string, string>): Promise<void> {
    await this.#file.change((hosts) => {
      const entry = hosts.get(name);
      if (!entry) throw unknownHost(name);
      hosts.set(name, checkEntry(name, { ...entry, tags: { ...entry.tags, ...tags } }));
    });
  }
}

/** What the file says of the identities: nothing of this user's own alone. */
function identitiesOf(names: readonly string[]): Pick<Entry, 'identities'> {
  const identities = [...new Set(names)];
  return identities.length === 1 && identities[0] === DEFAULT ? {} : { identities };
}

function unknownHost(name: string): UsageError {
  return new UsageError(`there is no host ${JSON.stringify(name.slice(0, 80))}: see "sendall hosts"`);
}

/** All hosts that this user can name: those in hosts.json, and those of the files and programs in hosts.d. */
import { basename, join } from 'node:path';
import { UsageError } from '../../errors.js';
import type { Home } from '../../home.js';
import { stampOf } from '../../files/stamp.js';
import { canonicalNetworkUrl } from '../../text/address.js';
import type { Inventory, InventoryHost } from '../inventory.js';
import { KnownHosts, type Entry } from '../known-hosts.js';
import { filesIn, readInventoryFile, stampsOf } from './folder.js';
import { inventoryLimits, type InventoryLimits, type InventoryOptions } from './limits.js';
import { emptyListing, joinListings, type HostEntry, type Listing } from './listing.js';
import { askProgram } from './program.js';
import { keyFor, recall, remember } from './remembered.js';
import { placeText } from '../../text/tree.js';

/** A host, and where it is stated. */
export interface ListedHost extends InventoryHost {
  readonly tags: Readonly<Record<string, string>>;
  /** `hosts.json`, or the name of a file in hosts.d with the line: `cluster.yaml:3`; both for a paired host of a file. */
  readonly from: readonly string[];
  /** When it was added to hosts.json: ISO 8601, UTC. */
  readonly addedAt?: string;
}

/** A value, or the error from making it, which is not made again while nothing has changed. */
type Made<T> = { readonly value: T } | { readonly error: unknown };

interface Folder {
  readonly stamp: string;
  /** The YAML files. */
  readonly files: Made<Listing>;
  readonly programs: readonly string[];
}

/** By file and limits. All callers in a process share one instance and its cache. */
const instances = new Map<string, AllHosts>();

/**
 * The hosts of one home. A file in hosts.d goes before hosts.json, and hosts.json before a program: for the address. A
 * pin may stand in each; they must be the same. Tags add up; for one key, hosts.json has the last word.
 *
 * Files are read again when they have changed. A program runs at most once in a process while it is unchanged, when a
 * list, a group or a name is wanted that is not in a file or in hosts.json.
 * @throws UsageError from every method when a file is wrong, and from those that run a program when it fails.
 */
export class AllHosts implements Inventory {
  readonly #known: KnownHosts;
  readonly #folderPath: string;
  /** The file with the parsed files; each program's answer is in a file beside it. */
  readonly #memory: string;
  readonly #limits: InventoryLimits;
  #folder: Folder | undefined;
  /** Whether the code that runs now, without waiting, has looked at the files: it may look up as many names as hosts. */
  #isFresh = false;
  readonly #programs = new Map<string, { readonly stamp: string | undefined; readonly listing: Made<Listing> }>();
  #joined: { readonly of: readonly unknown[]; readonly listing: Made<Listing> } | undefined;
  readonly #indexes = new Map<
    boolean,
    { readonly of: readonly unknown[]; readonly byUrl: ReadonlyMap<string, ListedHost> }
  >();

  private constructor(home: Home, limits: InventoryLimits) {
    this.#known = KnownHosts.of(home);
    this.#folderPath = home.hostsFolder;
    this.#memory = join(home.state, 'inventory.json');
    this.#limits = limits;
  }

  /**
   * The hosts of `home`: one instance for each process and limits.
   * @throws UsageError for a wrong option.
   */
  static of(home: Home, options: InventoryOptions = {}): AllHosts {
    const limits = inventoryLimits(options, process.env);
    const key = JSON.stringify([home.hostsFile, home.hostsFolder, limits]);
    let hosts = instances.get(key);
    if (!hosts) instances.set(key, (hosts = new AllHosts(home, limits)));
    return hosts;
  }

  /** All hosts, by name. */
  list(): ListedHost[] {
    return this.#listed(this.#all());
  }

  get(name: string): ListedHost | undefined {
    return this.#combine(name, this.#files()) ?? this.#combine(name, this.#all());
  }

  at(url: string): ListedHost | undefined {
    return (
      this.#indexed(this.#files(), false).get(canonical(url)) ?? this.#indexed(this.#all(), true).get(canonical(url))
    );
  }

  groups(): ReadonlyMap<string, string> {
    return groupsOf(this.#all());
  }

  /** The hosts and groups of files, and of the last answers of programs, for guesses and completion: no program runs. */
  get lastKnown(): Pick<AllHosts, 'list' | 'get' | 'groups'> & Pick<Inventory, 'at'> {
    return {
      list: () => this.#listed(this.#last()),
      get: (name) => this.#combine(name, this.#last()),
      at: (url) => this.#indexed(this.#files(), false).get(canonical(url)),
      groups: () => groupsOf(this.#last()),
    };
  }

  #last(): Listing {
    const files = this.#files();
    const programs = this.#look()?.programs ?? [];
    const answers = programs.flatMap((path) => recall(this.#memoryOf(path), this.#keyFor([path])) ?? []);
    return answers.length ? joinListings([files, ...answers], this.#limits.maxHosts) : files;
  }

  /** Files and programs in hosts.d as one. */
  #all(): Listing {
    const files = this.#files();
    const programs = this.#look()?.programs ?? [];
    if (!programs.length) return files;
    const answers = programs.map((path) => this.#answerOf(path));
    const of = [files, ...answers];
    if (!this.#joined || !isSame(this.#joined.of, of))
      this.#joined = { of, listing: make(() => joinListings(of, this.#limits.maxHosts)) };
    return valueOf(this.#joined.listing);
  }

  #answerOf(path: string): Listing {
    const stamp = stampOf(path);
    let answer = this.#programs.get(path);
    if (!answer || answer.stamp !== stamp) {
      const listing = make(() => askProgram(path, this.#limits));
      if ('value' in listing) remember(this.#memoryOf(path), this.#keyFor([path]), listing.value, []);
      answer = { stamp, listing };
      this.#programs.set(path, answer);
    }
    return valueOf(answer.listing);
  }

  #files(): Listing {
    const folder = this.#look();
    return folder ? valueOf(folder.files) : emptyListing;
  }

  #look(): Folder | undefined {
    if (this.#isFresh) return this.#folder;
    const found = filesIn(this.#folderPath);
    const stamp = found && stampsOf([...found.yaml, ...found.programs]);
    if (!found || stamp === undefined) this.#folder = undefined;
    else if (this.#folder?.stamp !== stamp) {
      this.#folder = { stamp, files: make(() => this.#read(found.yaml)), programs: found.programs };
    }
    this.#isFresh = true;
    queueMicrotask(() => (this.#isFresh = false));
    return this.#folder;
  }

  /** The YAML files, parsed now or by an earlier process. */
  #read(paths: readonly string[]): Listing {
    if (!paths.length) return emptyListing;
    const key = this.#keyFor(paths);
    const kept = recall(this.#memory, key);
    if (kept) return kept;
    const listings = paths.map((path) => readInventoryFile(path, this.#limits));
    const listing = joinListings(listings, this.#limits.maxHosts);
    if (this.#keyFor(paths) === key) remember(this.#memory, key, listing, paths);
    return listing;
  }

  #keyFor(paths: readonly string[]): string {
    return keyFor(paths, stampsOf(paths), this.#limits.maxBytes, this.#limits.maxHosts);
  }

  #memoryOf(program: string): string {
    return `${this.#memory}-${basename(program)}`;
  }

  #listed({ hosts }: Listing): ListedHost[] {
    const names = new Set([...this.#known.entries.keys(), ...hosts.keys()]);
    return [...names].sort().map((name) => this.#combine(name, { hosts })!);
  }

  #combine(name: string, { hosts }: Pick<Listing, 'hosts'>): ListedHost | undefined {
    const known = this.#known.entries.get(name);
    const stated = hosts.get(name);
    if (!stated) return known && { name, ...known, from: ['hosts.json'] };
    const from = [`${basename(stated.at.file)}${stated.at.line === undefined ? '' : `:${stated.at.line}`}`];
    if (!known) return { name, url: stated.url, pin: stated.pin, tags: stated.tags, from };
    if (stated.pin !== undefined && stated.pin !== known.pin) throw twoPins(name, known, stated);
    const isProgram = stated.at.line === undefined;
    return {
      name,
      url: isProgram ? known.url : stated.url,
      pin: known.pin,
      tags: { ...stated.tags, ...known.tags },
      from: isProgram ? ['hosts.json', ...from] : [...from, 'hosts.json'],
      addedAt: known.addedAt,
    };
  }

  /** Hosts by address. Of several at one address, a paired one is found first. */
  #indexed(listing: Listing, withPrograms: boolean): ReadonlyMap<string, ListedHost> {
    const of = [listing, this.#known.entries];
    let index = this.#indexes.get(withPrograms);
    if (!index || !isSame(index.of, of)) {
      const byUrl = new Map<string, ListedHost>();
      for (const host of this.#listed(listing)) {
        const url = canonical(host.url);
        if (byUrl.get(url)?.pin === undefined) byUrl.set(url, host);
      }
      index = { of, byUrl };
      this.#indexes.set(withPrograms, index);
    }
    return index.byUrl;
  }
}

const canonical = (url: string) => (url.startsWith('unix:') ? url : canonicalNetworkUrl(url));

const groupsOf = ({ groups }: Listing): ReadonlyMap<string, string> =>
  new Map([...groups].map(([name, { expression }]) => [name, expression]));

const isSame = (a: readonly unknown[], b: readonly unknown[]) =>
  a.length === b.length && a.every((each, i) => each === b[i]);

function make<T>(value: () => T): Made<T> {
  try {
    return { value: value() };
  } catch (error) {
    return { error };
  }
}

function valueOf<T>(made: Made<T>): T {
  if ('error' in made) throw made.error;
  return made.value;
}

/** The error for a host whose stated pin is not that of its pairing. */
export function twoPins(name: string, known: Entry, { pin, at }: HostEntry): UsageError {
  return new UsageError(
    `${name} has two keys: ${known.pin} in hosts.json, from its pairing, and ${pin} in ${placeText(at)}: correct one of them`,
  );
}

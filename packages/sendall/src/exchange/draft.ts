/** Hosts and groups on their way from another tool's format to ours: what cannot come along is noted, not lost silently. */
import { checkGroupName } from '../client/inventories/listing.js';
import { checkHostName, checkHostUrl } from '../client/inventory.js';
import { formatTlsUrl } from '../text/address.js';
import { LIMIT_NAMES } from '../client/inventories/limits.js';
import { mistake, type Place } from '../text/tree.js';

/** The port of agents; other tools' ports are those of ssh. */
const PORT = 7433;

/** A host to write. */
export interface DraftHost {
  readonly url: string;
  readonly pin?: string | undefined;
  readonly tags?: Readonly<Record<string, string>> | undefined;
}

/** A list of hosts and groups in the making. */
export class Draft {
  readonly hosts = new Map<string, DraftHost>();
  /** The words of each group's expression. */
  readonly groups = new Map<string, Set<string>>();
  /** What was left out, and why. */
  readonly notes: string[] = [];
  readonly #refused = new Set<string>();
  readonly #maxHosts: number;

  constructor(maxHosts: number) {
    this.#maxHosts = maxHosts;
  }

  /** @throws UsageError when there would be too many hosts. */
  checkRoom(more: number, at: Place): void {
    if (this.hosts.size + more > this.#maxHosts) throw mistake(at, `it names too many hosts (${LIMIT_NAMES.maxHosts})`);
  }

  /** Adds a host; a later address replaces an earlier one. False if it had to be left out. */
  host(name: string, at: Place, address?: string): boolean {
    const before = this.hosts.get(name);
    if (before && address === undefined) return true;
    if (this.#refused.has(name)) return false;
    try {
      checkHostName(name);
      const url = formatTlsUrl({ host: address ?? name, port: PORT });
      checkHostUrl(url);
      if (!before) this.checkRoom(1, at);
      this.hosts.set(name, { url });
      return true;
    } catch (error) {
      if (this.hosts.size >= this.#maxHosts) throw error;
      this.#refused.add(name);
      this.leaveOut((error as Error).message);
      return false;
    }
  }

  /** Adds words to a group, which need not exist. False if it had to be left out. */
  group(name: string, ...words: readonly string[]): boolean {
    let group = this.groups.get(name);
    if (!group) {
      try {
        checkGroupName(name);
      } catch (error) {
        this.leaveOut((error as Error).message);
        return false;
      }
      this.groups.set(name, (group = new Set()));
    }
    for (const word of words) group.add(word);
    return true;
  }

  leaveOut(what: string): void {
    if (!this.notes.includes(what)) this.notes.push(what);
  }
}

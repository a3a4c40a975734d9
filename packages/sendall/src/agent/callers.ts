/** The keys that may use this machine's agent over the network: callers.json. Without any, only its Unix socket runs commands. */
import { UsageError } from '../errors.js';
import type { Home } from '../home.js';
import { fingerprintOf, parseFingerprint } from '../keys/fingerprint.js';
import { RecordFile, type Json } from '../files/record-file.js';

/** A key that may run commands here. */
export interface Caller {
  readonly fingerprint: string;
  /** What the caller called itself when it paired. */
  readonly name: string;
  /** Whose runs it sees: keys of one principal share them. */
  readonly principal: string;
  readonly roles: readonly string[];
  /** ISO 8601, UTC. */
  readonly pairedAt: string;
}

type Entry = Omit<Caller, 'fingerprint'>;

function checkEntry(fingerprint: string, { name, principal, roles, pairedAt }: Json): Entry {
  parseFingerprint(fingerprint);
  if (typeof name !== 'string') throw new UsageError('it has no name');
  // What a caller may do is never guessed.
  if (typeof principal !== 'string' || !principal) throw new UsageError('it has no principal');
  if (!Array.isArray(roles) || !roles.every((role) => typeof role === 'string'))
    throw new UsageError('its roles are not a list of words');
  return { name, principal, roles, pairedAt: typeof pairedAt === 'string' ? pairedAt : '' };
}

/**
 * The callers of one home that may run commands here.
 * @throws UsageError from every method when the file is not what it should be: no caller is let in then.
 */
export class Callers {
  readonly #file: RecordFile<Entry>;

  constructor(home: Home) {
    this.#file = new RecordFile(home.callersFile, checkEntry);
  }

  /** The caller with this key. Reads the file again when it has changed. */
  find(spki: Uint8Array): Caller | undefined {
    const fingerprint = fingerprintOf(spki);
    const entry = this.#file.read().get(fingerprint);
    return entry && { fingerprint, ...entry };
  }

  list(): Caller[] {
    return [...this.#file.read()].map(([fingerprint, entry]) => ({ fingerprint, ...entry }));
  }

  /** Lets a key in as an owner. One that is known keeps its principal and roles. */
  async add({ fingerprint, name }: { fingerprint: string; name: string }): Promise<void> {
    parseFingerprint(fingerprint);
    await this.#file.change((callers) => {
      const { principal = 'owner', roles = ['owner'] } = callers.get(fingerprint) ?? {};
      callers.set(fingerprint, { name, principal, roles, pairedAt: new Date().toISOString() });
    });
  }

  /**
   * Shuts a key out.
   * @throws UsageError when it is not in.
   */
  async remove(fingerprint: string): Promise<void> {
    await this.#file.change((callers) => {
      if (!callers.delete(fingerprint)) throw new UsageError(`no caller has the key ${fingerprint}`);
    });
  }
}

/**
 * The keys that may use this machine's agent over the network: callers.json. Without any, only its Unix socket runs
 * commands. A key belongs to a principal, and roles to the principal: keys that share runs share their rights too.
 */
import { RefusedError, UsageError, type SendallError } from '../../errors.js';
import type { Home } from '../../home.js';
import { fingerprintOf, parseFingerprint } from '../../keys/fingerprint.js';
import { RecordFile, type Json } from '../../files/record-file.js';
import { OWNER } from '../../policy/rules.js';

/** A key that may run commands here. */
export interface Caller {
  readonly fingerprint: string;
  /** What the caller called itself when it paired. */
  readonly name: string;
  /** Whose runs it sees: keys of one principal share them, and have the same roles. */
  readonly principal: string;
  readonly roles: readonly string[];
  /** ISO 8601, UTC. */
  readonly pairedAt: string;
}

/** Who a key will be. */
export interface Rights {
  /** @default 'owner' */
  readonly principal?: string | undefined;
  /** @default those the principal has already; of one that is new: "owner" for the principal owner, none for others */
  readonly roles?: readonly string[] | undefined;
}

type Entry = Omit<Caller, 'fingerprint'>;

/** Principals and roles as policies name them: no colon, comma or space. */
const WORD = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/;
const MOST_ROLES = 16;

/**
 * Checks who a key will be.
 * @throws UsageError when it is wrong
 */
export function checkRights({ principal = OWNER, roles }: Rights): void {
  const word = (what: string, text: unknown): void => {
    if (typeof text !== 'string' || !WORD.test(text))
      throw new UsageError(
        `${JSON.stringify(typeof text === 'string' ? text.slice(0, 80) : typeof text)} is not a ${what}: 1 to 64 letters, digits and . _ @ -, the first a letter or digit`,
      );
  };
  word('principal', principal);
  if (roles !== undefined && !Array.isArray(roles)) throw new UsageError('roles are a list of words');
  for (const role of roles ?? []) word('role', role);
  if (roles && roles.length > MOST_ROLES)
    throw new UsageError(`${roles.length} roles, and a principal has at most ${MOST_ROLES}`);
  if (principal === OWNER && roles && !(roles.length === 1 && roles[0] === OWNER))
    throw new UsageError(
      `the principal "${OWNER}" is this machine's own user, with the role "${OWNER}" alone: give the caller a principal of its own`,
    );
}

function checkEntry(fingerprint: string, { name, principal, roles, pairedAt }: Json): Entry {
  parseFingerprint(fingerprint);
  if (typeof name !== 'string') throw new UsageError('it has no name');
  // What a caller may do is never guessed.
  if (typeof principal !== 'string' || !principal) throw new UsageError('it has no principal');
  if (!Array.isArray(roles) || !roles.every((role) => typeof role === 'string'))
    throw new UsageError('its roles are not a list of words');
  checkRights({ principal, roles });
  return { name, principal, roles, pairedAt: typeof pairedAt === 'string' ? pairedAt : '' };
}

/** What callers are told of a list that is wrong. What exactly is wrong is for the machine's own user to read. */
export const LIST_IS_WRONG = 'the list of callers cannot be read: "sendall doctor" on the host says why';

/** An error as callers may read it, strangers among them: not with the names of our files and the keys of others. */
export const forCallers = (error: SendallError): SendallError =>
  error instanceof UsageError ? new RefusedError(LIST_IS_WRONG) : error;

const sameWords = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((word) => b.includes(word));

/**
 * The callers of one home that may run commands here.
 * @throws UsageError from every method when the file is not what it should be: no caller is let in then.
 */
export class Callers {
  readonly #file: RecordFile<Entry>;
  readonly #path: string;
  readonly #changed: () => void;
  #indexed: ReadonlyMap<string, Entry> | undefined;
  #roles: ReadonlyMap<string, readonly string[]> = new Map();

  /** `changed` is called when a later look finds other callers than the one before. */
  constructor(home: Home, changed: () => void = () => undefined) {
    this.#changed = changed;
    this.#path = home.callersFile;
    this.#file = new RecordFile(this.#path, checkEntry);
  }

  /** The caller with this key. Reads the file again when it has changed. */
  find(spki: Uint8Array): Caller | undefined {
    return this.get(fingerprintOf(spki));
  }

  /** The caller whose key has this fingerprint. */
  get(fingerprint: string): Caller | undefined {
    const entry = this.#read().get(fingerprint);
    return entry && { fingerprint, ...entry };
  }

  /** The roles of a principal; undefined when no key is its. */
  rolesOf(principal: string): readonly string[] | undefined {
    this.#read();
    return this.#roles.get(principal);
  }

  list(): Caller[] {
    return [...this.#read()].map(([fingerprint, entry]) => ({ fingerprint, ...entry }));
  }

  /** Looks whether the file has changed. */
  look(): void {
    this.#read();
  }

  /** Lets a key in. One that is known becomes who it is now; other keys of its principal get the same roles. */
  async add({ fingerprint, name, ...rights }: { fingerprint: string; name: string } & Rights): Promise<void> {
    parseFingerprint(fingerprint);
    checkRights(rights);
    const { principal = OWNER } = rights;
    await this.#file.change((callers) => {
      const roles = rights.roles ?? rolesIn(callers, this.#path).get(principal) ?? (principal === OWNER ? [OWNER] : []);
      for (const [key, entry] of callers) if (entry.principal === principal) callers.set(key, { ...entry, roles });
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

  #read(): ReadonlyMap<string, Entry> {
    const callers = this.#file.read();
    if (callers !== this.#indexed) {
      this.#roles = rolesIn(callers, this.#path);
      const isFirst = this.#indexed === undefined;
      this.#indexed = callers;
      if (!isFirst) this.#changed();
    }
    return callers;
  }
}

/** The roles of each principal. @throws UsageError when two of its keys differ in them */
function rolesIn(callers: ReadonlyMap<string, Entry>, path: string): Map<string, readonly string[]> {
  const found = new Map<string, readonly string[]>();
  for (const [fingerprint, { principal, roles }] of callers) {
    const before = found.get(principal);
    if (before && !sameWords(before, roles))
      throw new UsageError(
        `${path}: the keys of ${principal} have different roles (see ${fingerprint}): roles belong to the principal, so give all its keys the same`,
      );
    found.set(principal, roles);
  }
  return found;
}

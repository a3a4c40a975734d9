/**
 * The agent's part of the log: it signs heads, and gives lines, hashes and proofs to owners.
 *
 * A head is signed only if the log still begins with the records of the last head that was signed, and it is on disk
 * before anyone gets it. So the log's key never stands for two histories.
 */
import { join } from 'node:path';
import { SendallError, UsageError } from '../../errors.js';
import { placePrivateFile, readPrivateFile, replacePrivateFile } from '../../files/private-file.js';
import type { Home } from '../../home.js';
import type { Identity } from '../../keys/identity.js';
import { certify, type Certificate } from '../../log/certificate.js';
import { logKeyOf, newLogKey, openCheckpoint, signCheckpoint, type LogKey } from '../../log/checkpoint.js';
import { hashBase64, hashFromBase64 } from '../../log/hashes.js';
import { CERTIFICATE, CHECKPOINT, LOG_KEY, logFolder } from '../../log/layout.js';
import { openHashes } from '../../log/log-files.js';
import { verifyConsistency, type Head } from '../../log/proofs.js';
import { linesFrom, linesOfRun } from '../../log/reading.js';
import { folderSource, isReadable, readPart } from '../../log/source.js';
import { consistencyProof, storedCount } from '../../log/stored-hashes.js';
import type { KeeperGate } from '../gate.js';

/** Bytes of a file in one answer: as base64 they fit into a frame. */
const LARGEST_PART = 512 * 1024;

/** A head of the log, signed. */
export interface SignedHead {
  /** The log's name. A log that was begun anew has another. */
  readonly origin: string;
  readonly size: number;
  /** Base64. */
  readonly root: string;
  /** The signed note. */
  readonly checkpoint: string;
  readonly certificate: Certificate;
  /** "none": the commands of this agent's owners can change the log, for the agent is not root. */
  readonly isolation: 'none' | 'root';
}

/** A question about the log, as ASK brings it. */
interface Asked {
  readonly name?: unknown;
  readonly at?: unknown;
  readonly length?: unknown;
  readonly from?: unknown;
  readonly last?: unknown;
  readonly run?: unknown;
  readonly before?: unknown;
  readonly size?: unknown;
}

export class LogDesk {
  readonly #folder: string;
  readonly #identity: Identity;
  readonly #gate: KeeperGate;
  /** Heads are signed one after the other. */
  #signing: Promise<unknown> = Promise.resolve();
  /** Why the last head was not signed. */
  problem: string | undefined;

  constructor(home: Home, identity: Identity, gate: KeeperGate) {
    this.#folder = logFolder(home);
    this.#identity = identity;
    this.#gate = gate;
  }

  /** The log's newest head: everything so far is on the disk and in the files then. */
  head(): Promise<SignedHead> {
    const signed = this.#signing.then(() => this.#sign());
    this.#signing = signed.then(
      () => (this.problem = undefined),
      (error: Error) => (this.problem = error.message),
    );
    return signed;
  }

  async #sign(): Promise<SignedHead> {
    let found = await this.#look();
    // Since the keeper was asked, an agent that makes room for this one may have signed a newer head.
    if (found.last && found.last.size > found.head.size) found = await this.#look();
    const { origin, head, pem, key, last } = found;
    let { checkpoint } = found;
    if (!last || !this.#follows(last, head)) {
      checkpoint = signCheckpoint({ origin, ...head }, pem);
      replacePrivateFile(join(this.#folder, CHECKPOINT), checkpoint);
    }
    const isolation = process.getuid?.() === 0 ? 'root' : 'none';
    const { size, root } = head;
    return {
      origin,
      size,
      root: hashBase64(root),
      checkpoint: checkpoint!,
      certificate: this.#certificate(key),
      isolation,
    };
  }

  /** The log as the keeper has it, and then what was signed last. */
  async #look() {
    const { id, size, root } = await this.#settle();
    const origin = `sendall-log/${this.#identity.fingerprint.slice('SHA256:'.length)}/${id}`;
    const pem = this.#privateKey();
    const key = this.#keyOf(origin, pem);
    const checkpoint = readPrivateFile(join(this.#folder, CHECKPOINT));
    const last: Head | undefined = checkpoint === undefined ? undefined : openCheckpoint(checkpoint, key);
    const head: Head = { size, root: hashFromBase64(root)! };
    return { origin, head, pem, key, checkpoint, last };
  }

  /**
   * Whether `head` was signed before; false when it may be signed now.
   * @throws SendallError LOG when it is no successor of the last one.
   */
  #follows(last: Head, head: Head): boolean {
    if (last.size === head.size && last.root === head.root) return true;
    if (last.size < head.size) {
      const hashes = openHashes(this.#folder);
      try {
        if (hashes.count >= storedCount(head.size)) {
          const proof = consistencyProof(last.size, head.size, (place) => hashes.read(place));
          if (verifyConsistency(last, head, proof)) return false;
        }
      } finally {
        hashes.close();
      }
    }
    throw new SendallError(
      'LOG',
      `the log has ${head.size} records and does not continue the ${last.size} that were signed last: it was cut or rewritten, and is not signed any more`,
    );
  }

  #privateKey(): string {
    const path = join(this.#folder, LOG_KEY);
    const pem = readPrivateFile(path);
    if (pem !== undefined) return pem;
    placePrivateFile(path, newLogKey());
    return readPrivateFile(path)!;
  }

  #keyOf(origin: string, pem: string): LogKey {
    try {
      return logKeyOf(origin, pem);
    } catch (cause) {
      throw new SendallError('LOG', `${join(this.#folder, LOG_KEY)} is no private key: put it back from a copy`, {
        cause,
      });
    }
  }

  #certificate(key: LogKey): Certificate {
    const path = join(this.#folder, CERTIFICATE);
    const known = certificateIn(readPrivateFile(path));
    const identity = this.#identity.spki.toString('base64');
    if (known?.key === key.text && known.identity === identity) return known as Certificate;
    const certificate = certify(key, this.#identity);
    replacePrivateFile(path, `${JSON.stringify(certificate)}\n`);
    return certificate;
  }

  /** Asks the keeper to bring everything to the disk and into the files. */
  async #settle(): Promise<{ id: string; size: number; root: string }> {
    const answer = await this.#gate.ask((opId) => ({ type: 'ASK', alias: 0, opId, what: 'log' }));
    if (answer.type !== 'ANSWER' || answer.body === undefined)
      throw new SendallError('LOG', (answer.type === 'ANSWER' && answer.error) || 'the keeper has no log');
    return JSON.parse(answer.body) as { id: string; size: number; root: string };
  }

  /**
   * Answers an owner's question. `local`: it comes from this machine, whose files can be read by the asker itself.
   * @throws UsageError for a question that is none.
   */
  async answer(what: string, body: unknown, local: boolean): Promise<unknown> {
    const asked = (body ?? {}) as Asked;
    if (what === 'log-head') return { ...(await this.head()), ...(local ? { folder: this.#folder } : {}) };
    if (what === 'log-files') return await folderSource(this.#folder).files();
    if (what === 'log-part') return this.#part(asked);
    if (what === 'log-lines') return await this.#lines(asked);
    if (what === 'log-proof') return this.#proof(asked);
    throw new UsageError(`the log has no answer to "${what.slice(0, 40)}"`);
  }

  #part({ name, at, length }: Asked): { base64: string } {
    if (typeof name !== 'string' || !isReadable(name)) throw new UsageError('the log has no such file');
    const bytes = readPart(join(this.#folder, name), number(at), Math.min(number(length), LARGEST_PART));
    return { base64: bytes.toString('base64') };
  }

  async #lines({ from, last, run }: Asked): Promise<unknown> {
    const { size } = await this.#settle();
    if (run !== undefined) {
      if (typeof run !== 'string' || !/^[0-9a-f-]{1,36}$/.test(run))
        throw new UsageError('this is not the id of a run');
      return linesOfRun(this.#folder, run, number(from ?? 0));
    }
    const start = last === undefined ? number(from) : Math.max(0, size - number(last));
    return { ...linesFrom(this.#folder, start, size), size };
  }

  #proof({ before, size }: Asked): string[] {
    const hashes = openHashes(this.#folder);
    try {
      if (hashes.count < storedCount(number(size))) throw new UsageError('the log has fewer records');
      return consistencyProof(number(before), number(size), (place) => hashes.read(place)).map(hashBase64);
    } finally {
      hashes.close();
    }
  }
}

/** A certificate as its file has it; one that cannot be read is made anew. */
function certificateIn(text: string | undefined): Partial<Certificate> | undefined {
  try {
    return text === undefined ? undefined : ((JSON.parse(text) ?? undefined) as Partial<Certificate> | undefined);
  } catch {
    return undefined;
  }
}

/** @throws UsageError unless it is a whole number. */
function number(value: unknown): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw new UsageError('a whole number is missing in the question');
}

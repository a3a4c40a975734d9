/** Verifies the log of a host, or one in a folder, against heads that were kept. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { SendallError, UsageError } from '../errors.js';
import { readPrivateFile } from '../files/private-file.js';
import type { Home } from '../home.js';
import { openCertificate, type Certificate } from '../log/certificate.js';
import { openCheckpoint, readCheckpoint, type Checkpoint } from '../log/checkpoint.js';
import { hashBase64, hashFromBase64 } from '../log/hashes.js';
import { CERTIFICATE, CHECKPOINT } from '../log/layout.js';
import { holdsLog } from '../log/log-files.js';
import { folderSource, isReadable, type LogFile, type LogSource } from '../log/source.js';
import { verifyLog, type KnownHead, type Problem } from '../log/verification.js';
import type { Host } from './host.js';
import type { Inventory } from './inventory.js';
import { KeptHeads, type KeptHead } from './kept-heads.js';

/** A head of a log that a program has kept, as a result's `log` has it. */
export interface AuditHead {
  /** Records. */
  readonly size: number;
  /** Their root, base64. */
  readonly head: string;
  /**
   * Where it comes from, for the verdict: the host's fingerprint or any other word. One that begins with "SHA256:" must be
   * the fingerprint of the identity that certified the log's key.
   * @default 'given'
   */
  readonly pin?: string;
}

/** What the verification of a log has found. */
export interface AuditVerdict {
  /** Nothing is wrong. */
  readonly ok: boolean;
  /** "none": the log's agent is not root, so the commands of its owners can change the log. */
  readonly isolation: 'none' | 'root';
  /** The log's name; undefined for one that was never signed. */
  readonly origin: string | undefined;
  readonly size: number;
  /** Base64. */
  readonly root: string;
  /** Records whose lines were compared with their hashes. The lines of older ones were dropped. */
  readonly checked: number;
  readonly against: readonly { readonly pin: string; readonly size: number; readonly consistent: boolean }[];
  /** What is wrong, by the index of the record where it begins. */
  readonly problems: readonly Problem[];
}

/** What an agent says of its log. */
interface HeadAnswer {
  readonly origin: string;
  readonly size: number;
  readonly root: string;
  readonly checkpoint: string;
  readonly certificate: Certificate;
  readonly isolation: 'none' | 'root';
  readonly folder?: string;
}

/** Bytes that are asked for at once. */
const PART = 512 * 1024;

/** A log on another machine, read through its agent, whose answers may be anything. */
function hostSource(host: Host): LogSource {
  const wrong = () => new SendallError('LOG', `${host.id} does not answer as a host with a log does`);
  return {
    async files() {
      const files = await host.ask('log-files');
      if (!Array.isArray(files) || !files.every(isLogFile)) throw wrong();
      return files;
    },
    async read(name, at, length) {
      const parts: Buffer[] = [];
      let have = 0;
      while (have < length) {
        const asked = { name, at: at + have, length: Math.min(PART, length - have) };
        const answer = await host.ask<{ base64?: unknown } | null>('log-part', asked);
        if (typeof answer?.base64 !== 'string') throw wrong();
        const part = Buffer.from(answer.base64, 'base64');
        if (part.length > asked.length) throw wrong();
        parts.push(part);
        have += part.length;
        // The file ends here by now. A host that gives less than there is would be asked without end.
        if (part.length < asked.length) break;
      }
      return Buffer.concat(parts);
    },
  };
}

function isLogFile(file: unknown): file is LogFile {
  const { name, size } = (file ?? {}) as { name?: unknown; size?: unknown };
  return typeof name === 'string' && isReadable(name) && Number.isSafeInteger(size) && (size as number) >= 0;
}

/** The head that a log's key has signed, and the fingerprint of the identity that stands for the key. */
function opened(checkpoint: string, certificate: Certificate): Checkpoint & { readonly pin: string } {
  const { key, fingerprint } = openCertificate(certificate);
  return { ...openCheckpoint(checkpoint, key), pin: fingerprint };
}

/**
 * Verifies a whole log: that of a connected host (its owners may ask for it), or one in a folder. Every line is compared
 * with its hash, the hashes with each other, with the signed checkpoint, and with `heads`.
 * @throws UsageError when there is no log in the folder, or a head is none.
 * @throws SendallError when the host does not give its log.
 */
export async function auditVerify(source: string | Host, heads: readonly AuditHead[] = []): Promise<AuditVerdict> {
  const known = heads.map(({ size, head, pin = 'given' }): KnownHead => {
    const root = hashFromBase64(head);
    if (root === undefined || !Number.isSafeInteger(size) || size < 0)
      throw new UsageError('a head is a number of records and their root, 32 bytes in base64');
    return { size, root, pin };
  });
  if (typeof source === 'string') {
    if (!holdsLog(source)) throw new UsageError(`there is no log in ${source}`);
    const path = join(source, CHECKPOINT);
    const note = existsSync(path) ? readPrivateFile(path) : undefined;
    const text = note === undefined ? undefined : readPrivateFile(join(source, CERTIFICATE));
    const signed = note !== undefined && { checkpoint: note, certificate: text ?? '{}' };
    return await verify(folderSource(source), known, { signed, live: false, isolation: isolationHere() });
  }
  const told = await source.ask<{ readonly [key in keyof HeadAnswer]?: unknown } | null>('log-head');
  const { checkpoint, certificate = {}, folder, isolation } = told ?? {};
  const signed = {
    checkpoint: typeof checkpoint === 'string' ? checkpoint : '',
    certificate: JSON.stringify(certificate),
  };
  const { pin } = source;
  // Only the agent of this machine may say which folder of this machine is read.
  const here = pin === undefined && typeof folder === 'string' && existsSync(folder);
  const from = here ? folderSource(folder) : hostSource(source);
  return await verify(from, known, { signed, live: true, isolation: isolation === 'root' ? 'root' : 'none', pin });
}

const isolationHere = (): 'none' | 'root' => (process.getuid?.() === 0 ? 'root' : 'none');

interface Circumstances {
  readonly signed: { readonly checkpoint: string; readonly certificate: string } | false;
  readonly live: boolean;
  readonly isolation: 'none' | 'root';
  /** The fingerprint of the host that gives the log; undefined: it is on this machine. */
  readonly pin?: string | undefined;
}

async function verify(
  source: LogSource,
  heads: readonly KnownHead[],
  { signed, live, isolation, pin: given }: Circumstances,
): Promise<AuditVerdict> {
  let head: (Checkpoint & { pin: string }) | undefined;
  let isSigned = true;
  try {
    if (signed) head = opened(signed.checkpoint, JSON.parse(signed.certificate) as Certificate);
  } catch {
    isSigned = false;
  }
  const pins = [given, ...heads.map((each) => each.pin)].filter((pin) => pin?.startsWith('SHA256:'));
  if (head && pins.some((pin) => pin !== head.pin)) isSigned = false;
  const verdict = await verifyLog(source, head ? [...heads, head] : heads, { live });
  const problems = isSigned ? verdict.problems : [...verdict.problems, { index: 0, kind: 'signature' as const }];
  return {
    ok: problems.length === 0,
    isolation,
    origin: head?.origin,
    size: verdict.size,
    root: hashBase64(verdict.root),
    checked: verdict.checked,
    against: verdict.against.slice(0, heads.length),
    problems,
  };
}

/** Under which key the heads of a host are kept: its pin, or the address of the local agent. */
export function headKeyOf(target: string, home: Home, inventory: Inventory): string {
  if (target === 'local') return `unix:${home.agentSocket}`;
  const host = inventory.get(target) ?? inventory.at(target);
  return host?.pin ?? host?.url ?? target;
}

/** The newest head of a host that was seen from here. */
export function keptHead(target: string, home: Home, inventory: Inventory): (KeptHead & { pin: string }) | undefined {
  const pin = headKeyOf(target, home, inventory);
  const head = KeptHeads.of(home).get(pin);
  return head && { ...head, pin };
}

/** Takes a host's log as it is now: it is compared with this head from now on. */
export function acceptHead(
  target: string,
  home: Home,
  inventory: Inventory,
  head: { size: number; root: string },
): void {
  KeptHeads.of(home).accept(headKeyOf(target, home, inventory), head.size, head.root);
}

/**
 * The heads in a text: a checkpoint, or lines of JSON with `size` and `root` or `head`, as `audit head` and results print
 * them.
 * @throws UsageError when there are none.
 */
export function headsIn(text: string, from: string): AuditHead[] {
  if (!text.trimStart().startsWith('{')) {
    try {
      const { size, root } = readCheckpoint(text);
      return [{ size, head: hashBase64(root), pin: from }];
    } catch (error) {
      if (!(error instanceof SendallError)) throw error;
      throw new UsageError(`${from} holds no head of a log: ${error.message}`, { cause: error });
    }
  }
  const heads = text.split('\n').flatMap((line) => {
    const { size, root, head = root } = headOf(line);
    return typeof size === 'number' && typeof head === 'string' ? [{ size, head, pin: from }] : [];
  });
  if (!heads.length) throw new UsageError(`${from} holds no head of a log: no line has a size and a root`);
  return heads;
}

function headOf(line: string): { size?: unknown; root?: unknown; head?: unknown } {
  try {
    const value = JSON.parse(line) as { log?: object } | null;
    return value?.log ?? value ?? {};
  } catch {
    return {};
  }
}

/**
 * One run's part in outputs that many runs share: asks its host for the first bytes of each stream, and for the others
 * only if no other run receives equal ones.
 */
import { STREAM, type Exit } from '../../protocol/messages.js';
import { SharedOutput } from '../result/shared-output.js';
import type { StreamName } from '../streams/output.js';
import type { ClientAttachment } from './attachment.js';
import type { Outputs } from './outputs.js';
import type { Claimant, SharedOutputs } from './shared-outputs.js';

const NAMES = ['stdout', 'stderr'] as const;

export interface SharingRun {
  readonly host: string;
  readonly attachment: ClientAttachment;
  readonly outputs: Outputs;
  /** Output after the command's end counts too. */
  readonly readsOn: boolean;
  /** An output is complete. */
  arrived(): void;
}

/** An output whose digest is known. */
interface Claim extends Claimant {
  /** Names the bytes: equal names, equal bytes. */
  readonly name: string;
  readonly upto: Exit['upto'][number];
  readonly stream: StreamName;
}

export class Sharing {
  readonly #shared: SharedOutputs;
  readonly #run: SharingRun;
  readonly #claims = new Set<Claim>();
  #exiting = false;
  #over = false;

  constructor(shared: SharedOutputs, run: SharingRun) {
    this.#shared = shared;
    this.#run = run;
  }

  /** The command has ended, and the host says what it wrote. */
  exited(exit: Exit): void {
    this.#exiting = true;
    for (const upto of exit.upto) this.#claim(upto);
    this.arrived();
    this.#exiting = false;
  }

  /** Bytes have arrived. */
  arrived(): void {
    for (const claim of this.#claims) {
      const { upto, name } = claim;
      const inbound = this.#run.attachment.streams.get(upto.stream);
      if (!inbound || inbound.next < upto.offset) continue;
      this.#claims.delete(claim);
      if (this.#collects(claim.stream) && inbound.isWhole && inbound.matches(upto)) this.#receive(claim);
      this.#shared.leave(name, claim);
    }
  }

  /** The link was lost or made. */
  relinked(): void {
    for (const claim of this.#claims) this.#want(claim);
  }

  /** The run is over. Outputs without a digest of the host's are shared by ours. */
  end(): void {
    this.#over = true;
    for (const claim of this.#claims) this.#shared.leave(claim.name, claim);
    this.#claims.clear();
    for (const name of NAMES) {
      const output = this.#run.outputs.of(name);
      const { next, crc, sha256 } = output.inbound;
      if (output.shared || !this.#collects(name) || sha256 === undefined) continue;
      this.#keep(name, nameOf(name, next, crc, sha256), sha256);
    }
  }

  #claim(upto: Exit['upto'][number]): void {
    if (this.#over) return;
    const { attachment, readsOn } = this.#run;
    const { stream: number, offset, crc32, sha256 } = upto;
    const inbound = attachment.streams.get(number);
    if (!inbound || inbound.abandoned) return;
    const stream = number === STREAM.stdout ? 'stdout' : number === STREAM.stderr ? 'stderr' : undefined;
    if (!stream || !sha256 || !inbound.isWhole || (readsOn && upto.open)) return attachment.release(number);
    const name = nameOf(stream, offset, crc32, Buffer.from(sha256).toString('hex'));
    const claim: Claim = {
      name,
      upto,
      stream,
      get linked() {
        return attachment.linked;
      },
      fetch: () => attachment.release(number),
      take: (output) => this.#take(claim, output),
    };
    this.#claims.add(claim);
    // What was asked for already is on its way.
    if (inbound.limit < offset) this.#want(claim);
  }

  #want(claim: Claim): void {
    const known = this.#shared.find(claim.name);
    if (known) this.#take(claim, known);
    else this.#shared.claim(claim.name, claim);
  }

  /** Equal bytes were received from another host. */
  #take(claim: Claim, output: SharedOutput): void {
    if (!this.#claims.delete(claim)) return;
    const { attachment, outputs } = this.#run;
    attachment.streams.get(claim.upto.stream)?.forgo(claim.upto.offset);
    if (this.#collects(claim.stream)) outputs.of(claim.stream).adopt(output, true);
    if (output.isCut) outputs.hasOverflowed = true;
    if (!this.#exiting) this.#run.arrived();
  }

  /** All bytes up to the command's end are here, and they are those that the host read. */
  #receive({ stream, name, upto }: Claim): void {
    this.#keep(stream, name, Buffer.from(upto.sha256!).toString('hex'), upto.offset);
  }

  /** The result gets this stream's bytes. */
  #collects(stream: StreamName): boolean {
    const { collects, inbound } = this.#run.outputs.of(stream);
    return collects && !inbound.abandoned;
  }

  /** Makes this run's output the one for all, unless there is one. */
  #keep(stream: StreamName, name: string, sha256: string, length?: number): void {
    const output = this.#run.outputs.of(stream);
    const known = this.#shared.find(name);
    if (known) return output.adopt(known);
    const bytes = output.collected().subarray(0, length);
    const shared = new SharedOutput(this.#run.host, bytes, output.isCut, sha256);
    output.adopt(shared);
    this.#shared.receive(name, shared);
  }
}

const nameOf = (stream: StreamName, length: number, crc: number, sha256: string): string =>
  `${stream}/${length}/${crc}/${sha256}`;

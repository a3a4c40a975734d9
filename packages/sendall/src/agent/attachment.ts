/** One caller's hold on one run: relays control both ways, and output from the spool. */
import { SpoolReader, spoolFolder } from '../keeper/door.js';
import type { Home } from '../home.js';
import type { Link } from '../link/link.js';
import { startOffset } from '../protocol/flow.js';
import { STREAM, type Control, type From, type Message, type MessageNamed } from '../protocol/messages.js';
import type { KeeperGate, Listener } from './gate.js';
import { Outflow } from './outflow.js';

/** What an attachment needs of its session. */
export interface AttachmentOwner {
  readonly link: Link;
  readonly gate: KeeperGate;
  readonly home: Home;
  readonly principal: string;
  /** This attachment has output to send. */
  wake(attachment: Attachment): void;
  ended(attachment: Attachment): void;
}

export class Attachment implements Listener {
  readonly alias: number;
  readonly runId: Uint8Array;
  readonly #owner: AttachmentOwner;
  readonly #keeperAlias: number;
  readonly #wanted: readonly From[];
  readonly #folder: string;
  readonly #outflows = new Map<number, Outflow>();
  #next = 0;

  constructor(owner: AttachmentOwner, alias: number, runId: Uint8Array, wanted: readonly From[]) {
    this.#owner = owner;
    this.alias = alias;
    this.runId = runId;
    this.#wanted = wanted;
    this.#keeperAlias = owner.gate.enter(this);
    this.#folder = spoolFolder(owner.home, owner.principal, runId);
  }

  /** Sends the caller's OPEN or ATTACH on, in the name of its principal. */
  begin(message: MessageNamed<'OPEN'> | MessageNamed<'ATTACH'>): void {
    this.#owner.gate.send({ ...message, alias: this.#keeperAlias, principal: this.#owner.principal });
  }

  fromCaller(message: Message): void {
    switch (message.type) {
      case 'DATA':
        if (message.stream === STREAM.stdin)
          this.#owner.gate.sendData(this.#keeperAlias, message.offset, message.bytes);
        break;
      case 'CREDIT':
        this.#outflow(message.stream)?.allow(message.limit);
        break;
      case 'STOP':
        this.#outflows.get(message.stream)?.stop();
        this.#forward(message);
        break;
      default:
        this.#forward(message);
    }
  }

  fromKeeper(message: Message): void {
    const { link } = this.#owner;
    switch (message.type) {
      case 'DATA':
        if (this.#outflow(message.stream)?.fresh(message))
          link.sendData(this.alias, message.stream, message.gseq, message.offset, message.bytes);
        break;
      case 'SPOOLED':
        this.#outflow(message.stream)?.grow(message.next);
        break;
      case 'GAP':
        this.#outflow(message.stream)?.skip(message.to, message.reason);
        break;
      case 'ATTACHED':
        for (const state of message.streams)
          if (state.stream !== STREAM.stdin) {
            const wanted = this.#wanted.find(({ stream }) => stream === state.stream);
            this.#begin(state.stream, startOffset(wanted, state), wanted?.limit ?? 0);
          }
        link.send({ ...message, alias: this.alias });
        for (const { stream, next } of message.streams) this.#outflows.get(stream)?.grow(next);
        break;
      case 'REFUSED':
      case 'ATTACH_REFUSED':
        link.send({ ...message, alias: this.alias });
        this.#owner.gate.drop(this.#keeperAlias);
        this.#owner.ended(this);
        break;
      default:
        link.send({ ...message, alias: this.alias });
    }
  }

  keeperLost(reason: string): void {
    const now = Date.now();
    this.#owner.link.send({
      type: 'EXIT',
      alias: this.alias,
      cause: 'lost',
      reason,
      upto: [],
      startMs: now,
      endMs: now,
      survivors: [],
    });
  }

  /** Sends one frame of output. True when there is more. */
  pump(): boolean {
    const flows = [...this.#outflows.values()];
    // Streams take turns, so that stderr never waits for stdout.
    for (let i = 0; i < flows.length; i++) {
      const flow = flows[(this.#next + i) % flows.length]!;
      if (!flow.ready) continue;
      flow.send(this.#owner.link, this.alias);
      this.#next = (this.#next + i + 1) % flows.length;
      break;
    }
    return flows.some((flow) => flow.ready);
  }

  close(): void {
    for (const outflow of this.#outflows.values()) outflow.stop();
    this.#owner.gate.leave(this.#keeperAlias);
  }

  #forward(message: Message): void {
    if (message.type !== 'DATA') this.#owner.gate.send({ ...(message as Control), alias: this.#keeperAlias });
  }

  /** The flow of a stream; a run that was opened here starts each at its first byte. */
  #outflow(stream: number): Outflow | undefined {
    const known = this.#outflows.get(stream);
    if (known || stream === STREAM.stdin) return known;
    const wanted = this.#wanted.find((each) => each.stream === stream);
    return wanted ? this.#begin(stream, wanted.offset ?? 0, wanted.limit) : undefined;
  }

  #begin(stream: number, start: number, limit: number): Outflow {
    const outflow = new Outflow(stream, new SpoolReader(this.#folder, stream), start, limit, () =>
      this.#owner.wake(this),
    );
    this.#outflows.set(stream, outflow);
    return outflow;
  }
}

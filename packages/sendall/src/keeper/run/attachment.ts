/** One caller's attachment to a run, through one agent: what is sent to it, and whether it is in control. */
import type { Control } from '../../protocol/messages.js';
import type { Wire } from '../door/wire.js';

/** Pieces up to this size travel with their announcement; the agent reads bigger ones from the spool. */
export const INLINE = 16 * 1024;

type WithoutAlias<T> = T extends unknown ? Omit<T, 'alias'> : never;
export type ToAttachment = WithoutAlias<Control>;

/** The connection an attachment belongs to. */
export interface KeeperAttachmentOwner {
  readonly wire: Wire;
  /** Asks for `flush` when the wire has room again. */
  whenRoomy(attachment: KeeperAttachment): void;
  /** The run has let go of it: its alias leads nowhere from now on. */
  released(attachment: KeeperAttachment): void;
}

export class KeeperAttachment {
  readonly alias: number;
  readonly #owner: KeeperAttachmentOwner;
  control: boolean;
  /** Its caller wants to know whether the terminal shows what is typed. */
  readonly followsEcho: boolean;
  /** Its caller wants to know when the command first waits for room. */
  #followsBlocked: boolean;
  /** Whose it is, for the log: the principal, and the key or the way that its link came by. */
  readonly by: { readonly principal: string | undefined; readonly caller: string | undefined };
  /** Its caller has left: nothing is sent any more. */
  gone = false;
  /** Streams that grew by more than was sent along: stream and where it is now. */
  readonly #grown = new Map<number, number>();
  #scheduled = false;

  constructor(
    owner: KeeperAttachmentOwner,
    alias: number,
    control: boolean,
    follows: { readonly echo?: boolean | undefined; readonly blocked?: boolean | undefined } = {},
    by: { readonly principal?: string | undefined; readonly caller?: string | undefined } = {},
  ) {
    this.by = { principal: by.principal, caller: by.caller };
    this.#owner = owner;
    this.alias = alias;
    this.control = control;
    this.followsEcho = follows.echo ?? false;
    this.#followsBlocked = follows.blocked ?? false;
  }

  /** Sends a message about the run; what was announced late goes before it. */
  send(message: ToAttachment): void {
    this.flush();
    if (this.#owner.wire.send(message as Control, this.alias) || message.type !== 'OP_OK') return;
    const { opId, result } = message;
    this.#owner.wire.send({ type: 'OP_OK', alias: this.alias, opId, result, signalled: [], survivors: [] });
  }

  /** Sends what was said so far now, instead of at the end of what this process does at this moment. */
  hurry(): void {
    this.flush();
    this.#owner.wire.flush();
  }

  /** Sends a message that callers seldom wait for. */
  sendLater(message: ToAttachment): void {
    this.flush();
    this.#owner.wire.sendLater(message as Control, this.alias);
  }

  /** The command waits for room. Told once: a slow reader may make it wait again and again. */
  waits(what: string): void {
    if (this.#followsBlocked) this.send({ type: 'BLOCKED', what });
    this.#followsBlocked = false;
  }

  /** The run is nothing to hold on to any more. */
  release(): void {
    this.gone = true;
    this.#owner.released(this);
  }

  /** A stream has grown. */
  grew(stream: number, gseq: number, offset: number, bytes: Uint8Array): void {
    const { wire } = this.#owner;
    if (bytes.length <= INLINE && !this.#grown.has(stream) && !wire.congested) {
      wire.sendData(this.alias, stream, gseq, offset, bytes);
      return;
    }
    this.announce(stream, offset + bytes.length);
  }

  /** Tells, once a tick, how far a stream has come. */
  announce(stream: number, next: number): void {
    this.#grown.set(stream, next);
    if (this.#scheduled) return;
    this.#scheduled = true;
    if (this.#owner.wire.congested) this.#owner.whenRoomy(this);
    else queueMicrotask(() => this.flush());
  }

  flush(): void {
    this.#scheduled = false;
    if (this.#grown.size === 0) return;
    for (const [stream, next] of this.#grown)
      this.#owner.wire.send({ type: 'SPOOLED', alias: this.alias, stream, next });
    this.#grown.clear();
  }
}

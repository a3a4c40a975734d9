/**
 * A caller's connection to the warm-links process, which talks to it as an agent would. A bad frame ends this
 * connection and never reaches a host.
 */
import { ProtocolError, RefusedError, SendallError, UnreachableError } from '../../errors.js';
import { bindsAlias, decode } from '../../protocol/codec.js';
import { PROTOCOL_VERSION, type Message, type MessageNamed } from '../../protocol/messages.js';
import { VERSION } from '../../protocol/version.js';
import type { FairShare } from '../../fair-share.js';
import { isLinkError, type Greeting } from '../handshake.js';
import type { Link } from '../link.js';
import { WARM, type Wanted, type WarmLinksStatus } from './client.js';
import type { Answer, LinkSharer, Question, Refusal, WarmLink } from './warm-link.js';

/** Most open questions of one caller; those the link cannot carry yet wait here. */
const MOST_OPEN = 64;

/** What the process offers its callers. */
export interface WarmLinksProcess {
  /**
   * A link to a host, which may not have let us in yet; all callers that want the same host, its key and the same own key
   * share one.
   */
  linkTo(wanted: Wanted): Promise<WarmLink>;
  status(): Promise<WarmLinksStatus>;
  /** Closes the links to a URL. Returns how many there were. */
  closeLinksTo(url: unknown): Promise<number>;
  close(): Promise<void>;
}

export class WarmLinksCaller implements LinkSharer {
  readonly link: Link;
  readonly closed: Promise<void>;
  readonly #owner: WarmLinksProcess;
  readonly #aliases = new Map<number, number>();
  /** Lists sent page by page, by their numbers. */
  readonly #lists = new Map<number, MessageNamed<'LIST'>>();
  readonly #questions: Question[] = [];
  #open = 0;
  #warm: WarmLink | undefined;
  #share: FairShare | undefined;
  #lastAlias = 0;
  /** HELLO and AUTH were answered, as far as this process can: what comes next is for the host, or about ourselves. */
  #linked = false;
  #turnedAway = false;

  constructor(link: Link, owner: WarmLinksProcess) {
    this.link = link;
    this.#owner = owner;
    this.closed = new Promise((resolve) => {
      link.start({
        forward: (alias, frame) => this.#toHost(alias, frame),
        message: (message) => this.#message(message),
        roomy: () => {
          if (this.#questions.length) this.#warm?.ask(this);
        },
        closed: () => {
          this.#questions.length = 0;
          this.#share?.give(this.#share.held);
          this.#warm?.leave(this);
          resolve();
        },
      });
    });
  }

  #toHost(alias: number, frame: Buffer): boolean {
    if (!this.#warm || !this.#linked || bindsAlias(frame)) return false;
    // One bad frame would end the link for the others, so check it first.
    decode(frame);
    const own = this.#aliases.get(alias);
    if (own !== undefined) this.#warm.link.forward(own, frame, 'lent');
    else if (alias > this.#lastAlias) throw new ProtocolError('a message for a run that was not opened');
    this.#warm.pace(this);
    return true;
  }

  #message(message: Message): void {
    if (!this.#linked) this.#greet(message);
    else if (!this.#warm) this.#onOwn(message);
    else if (message.type === 'OPEN' || message.type === 'ATTACH') this.#board(this.#warm, message);
    else if (message.type === 'DETACH') this.#detach(this.#warm, message);
    else if (message.type === 'LIST' || message.type === 'FORGET' || message.type === 'ASK')
      this.#ask(this.#warm, message);
    else if (message.type === 'LINK_ERROR') this.link.destroy(new RefusedError(message.message));
    else if (message.type !== 'GOAWAY') throw new ProtocolError(`${message.type} does not belong to the link`);
  }

  #board(warm: WarmLink, message: MessageNamed<'OPEN'> | MessageNamed<'ATTACH'>): void {
    const { alias, runId } = message;
    if (alias <= this.#lastAlias)
      throw new ProtocolError(`alias ${alias} is not above ${this.#lastAlias}, the last one used on this link`);
    this.#lastAlias = alias;
    if (!this.#share?.take()) {
      const text = `${this.#share?.held ?? 0} runs are held through this warm link, and the rest is reserved for others`;
      if (message.type === 'OPEN')
        this.link.send({ type: 'REFUSED', alias, runId, code: 'busy', message: text, retryAfterMs: 1000 });
      else this.link.send({ type: 'ATTACH_REFUSED', alias, runId, code: 'busy', message: text });
      return;
    }
    const own = warm.board(this, alias);
    this.#aliases.set(alias, own);
    warm.link.send(message, own);
    warm.pace(this);
  }

  #detach(warm: WarmLink, message: MessageNamed<'DETACH'>): void {
    const alias = this.#letGo(message.alias);
    if (alias !== undefined) warm.link.send(message, alias);
  }

  /** Frees an alias. Returns the alias it had at the host. */
  #letGo(alias: number): number | undefined {
    const own = this.#aliases.get(alias);
    if (own === undefined) return undefined;
    this.#aliases.delete(alias);
    this.#warm?.forget(own);
    this.#share?.give();
    return own;
  }

  /** The host refuses a run. If the refusal would have ended a link of the caller's own, we end this connection. */
  refused(alias: number, refusal: Refusal): void {
    this.#letGo(alias);
    if (refusal.code === 'protocol') this.link.fail(new ProtocolError(refusal.message));
    else this.link.send(refusal, alias);
  }

  #ask(warm: WarmLink, message: Question): void {
    const { opId } = message;
    if (this.#open >= MOST_OPEN) {
      const error = `${MOST_OPEN} questions are open already: wait for an answer`;
      this.link.send({ type: 'ANSWER', alias: 0, opId, error });
      return;
    }
    this.#open++;
    this.#questions.push(message);
    warm.ask(this);
  }

  /** The caller's next question. It waits until this caller reads the answers it already has. */
  nextQuestion(): Question | undefined {
    if (!this.link.roomy) return undefined;
    const question = this.#questions.shift();
    if (question?.type !== 'LIST' || question.page) return question;
    this.#lists.set(question.opId, question);
    return { ...question, page: true };
  }

  answer(answer: Answer): void {
    const list = this.#lists.get(answer.opId);
    if (answer.type === 'RUNS' && !answer.last && (list || answer.next === undefined)) {
      const { next, ...page } = answer;
      this.link.send(page);
      if (list && next !== undefined) this.#questions.unshift({ ...list, after: next });
      return;
    }
    this.#lists.delete(answer.opId);
    this.#open--;
    this.link.send(answer);
  }

  #greet(message: Message): void {
    if (message.type === 'HELLO') {
      // A caller of another version does without us, and we make room for a process of its version.
      if (message.version === VERSION) return;
      this.#turnedAway = true;
      this.link.destroy();
      void this.#owner.close();
    } else if (this.#turnedAway) return;
    else if (message.type === 'AUTH' && message.method === WARM) void this.#admit(message);
    else throw new ProtocolError(`${message.type} is not what a caller of warm links begins with`);
  }

  async #admit({ proof }: MessageNamed<'AUTH'>): Promise<void> {
    try {
      const warm = proof && (await this.#owner.linkTo(wantedOf(proof)));
      if (this.link.closed) return;
      this.#warm = warm;
      this.#linked = true;
      this.link.trust();
      this.link.send({ type: 'HELLO_OK', alias: 0, proto: PROTOCOL_VERSION });
      if (warm) this.#share = warm.join(this);
      else this.welcome(ownGreeting());
    } catch (error) {
      this.link.fail(error instanceof SendallError ? error : new UnreachableError((error as Error).message));
    }
  }

  /** The host has let us in. */
  welcome({ auth }: Greeting): void {
    this.link.send(auth);
  }

  /**
   * The link ended before the host has let us in. We pass on the reason, unless what this caller has sent may have
   * arrived: to callers, a reason at this point means that nothing of it did.
   */
  turnedAway(error: SendallError): void {
    if (this.#lastAlias === 0 || isLinkError(error)) this.link.fail(error);
    else this.link.close();
  }

  /** The link ended. We pass on the reason, unless it is a broken rule of the protocol, which this caller did not break. */
  linkLost(error: Error | undefined): void {
    if (error instanceof SendallError && !(error instanceof ProtocolError)) this.link.fail(error);
    else this.link.close();
  }

  /** Answers questions to this process itself. */
  #onOwn(message: Message): void {
    if (message.type !== 'ASK') throw new ProtocolError(`${message.type} is for a host, and none was named`);
    const answer = (body: unknown) =>
      this.link.send({ type: 'ANSWER', alias: 0, opId: message.opId, body: JSON.stringify(body) });
    if (message.what === 'stop') {
      answer({ pid: process.pid });
      setImmediate(() => void this.#owner.close());
    } else if (message.what === 'close')
      void this.#owner.closeLinksTo(JSON.parse(message.body ?? 'null')).then((closed) => answer({ closed }));
    else void this.#owner.status().then(answer);
  }
}

function wantedOf(proof: Uint8Array): Wanted {
  const { url, pin, identity } = JSON.parse(Buffer.from(proof).toString()) as Partial<Wanted>;
  if (typeof url !== 'string' || typeof pin !== 'string') throw new ProtocolError('a warm link needs a url and a pin');
  if (identity !== undefined && typeof identity !== 'string') throw new ProtocolError('an identity is a name');
  return { url, pin, identity };
}

function ownGreeting(): Greeting {
  const words = { principal: 'owner', roles: ['owner'], policyRev: 0, epoch: new Uint8Array(16), features: [] };
  return {
    auth: { type: 'AUTH_OK', alias: 0, ...words, name: 'links', version: VERSION },
    clockMs: Date.now(),
    at: performance.now(),
  };
}

/** What a link asks beside its runs: lists, forgetting, and questions to the agent. Only so many are open at once. */
import { ProtocolError, SendallError } from '../errors.js';
import type { FairShare } from '../fair-share.js';
import type { Verb } from '../policy/rules.js';
import type { Refusal } from './admission/admission.js';
import type { Link } from '../link/link.js';
import type { Control, MessageNamed } from '../protocol/messages.js';
import type { KeeperGate } from './gate.js';

export type Question = MessageNamed<'LIST'> | MessageNamed<'FORGET'> | MessageNamed<'ASK'>;

/** The link that asks. */
export interface Asker {
  readonly link: Link;
  readonly gate: KeeperGate;
  /** Whose runs it sees. */
  readonly principal: string;
  /** Why it may not do this; undefined: it may. */
  refuses(verb: Verb): Refusal | undefined;
  /** This link's share of the questions that its principal may have open. */
  readonly questionRoom: FairShare;
  /** The agent's answer to ASK. */
  answer(what: string, body: unknown): Promise<unknown>;
}

export class Questions {
  readonly #asker: Asker;
  readonly #most: number;
  #open = 0;
  #closed = false;
  /** Lists are answered one after the other. */
  #lists: Promise<unknown> = Promise.resolve();
  readonly #whenRoomy: (() => void)[] = [];

  /** `most`: questions that may be open at once. */
  constructor(asker: Asker, most: number) {
    this.#asker = asker;
    this.#most = most;
  }

  /** Answers a question, when there are not too many open ones on this link. */
  async take(question: Question): Promise<void> {
    const { opId } = question;
    const { link, questionRoom, principal } = this.#asker;
    try {
      if (this.#open >= this.#most)
        throw new SendallError('BUSY', `this link has ${this.#most} questions open already (maxQuestions)`);
      const refusal = this.#refusalOf(question);
      if (refusal) {
        link.send({ type: 'ANSWER', alias: 0, opId, error: refusal.message, code: refusal.code });
        return;
      }
      if (!questionRoom.take())
        throw new SendallError('BUSY', `${principal} has too many questions open already (maxQuestionsPerPrincipal)`);
      this.#open++;
      try {
        link.send({ ...(await this.#find(question)), alias: 0, opId } as Control);
      } finally {
        this.#open--;
        questionRoom.give();
      }
    } catch (error) {
      link.send({ type: 'ANSWER', alias: 0, opId, error: (error as Error).message });
    }
  }

  /** The link has room again. */
  roomy(): void {
    for (const then of this.#whenRoomy.splice(0)) then();
  }

  /** The link is over. */
  close(): void {
    this.#closed = true;
    this.roomy();
  }

  #refusalOf({ type, ...rest }: Question): Refusal | undefined {
    // The first tells no more than the link itself. The others tell others than owners no more than a try.
    if ('what' in rest && ['ping', 'policy-test', 'policy-rules'].includes(rest.what)) return undefined;
    return this.#asker.refuses(type === 'LIST' ? 'list' : type === 'FORGET' ? 'forget' : 'agent');
  }

  #find(question: Question): Promise<Control> {
    if (question.type === 'LIST') return this.#list(question);
    if (question.type === 'ASK') return this.#ask(question);
    const { gate, principal } = this.#asker;
    return gate.ask((opId) => ({ ...question, opId, principal }));
  }

  /** One list after the other, and each page of it when the caller has taken the one before. */
  #list(message: MessageNamed<'LIST'>): Promise<Control> {
    const list = this.#lists.then(() => this.#pages(message));
    this.#lists = list.catch(() => undefined);
    return list;
  }

  async #pages(message: MessageNamed<'LIST'>): Promise<Control> {
    const { link, gate, principal } = this.#asker;
    for (let { after } = message; ;) {
      while (!link.roomy) {
        if (this.#closed) throw new SendallError('CLOSED', 'the asker has gone');
        await new Promise<void>((resolve) => this.#whenRoomy.push(resolve));
      }
      const page = await gate.ask((opId) => ({ ...message, opId, principal, page: true, after }));
      if (page.type !== 'RUNS' || page.next === undefined || message.page) return page;
      link.send({ ...page, opId: message.opId, next: undefined });
      after = page.next;
    }
  }

  async #ask({ what, body }: MessageNamed<'ASK'>): Promise<Control> {
    let parsed: unknown;
    try {
      parsed = body === undefined ? undefined : JSON.parse(body);
    } catch (cause) {
      throw new ProtocolError('the question is not JSON', { cause });
    }
    const answer = await this.#asker.answer(what, parsed);
    return { type: 'ANSWER', alias: 0, opId: 0, body: answer === undefined ? undefined : JSON.stringify(answer) };
  }
}

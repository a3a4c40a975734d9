/** What all links of one principal take of the agent together. Owners have no limits of this kind. */
import { FairShare } from '../../fair-share.js';
import { isOwner } from './admission.js';
import type { Principal } from '../callers/origin.js';
import { ReadAhead } from '../streams/read-ahead.js';

/** How much each principal that is no owner may have. */
export interface PrincipalLimits {
  readonly maxLinksPerPrincipal: number;
  readonly maxQuestionsPerPrincipal: number;
  /** Bytes of output read from disk that may wait for its links. */
  readonly readAhead: number;
}

interface Held {
  links: number;
  readonly questions: FairShare;
  readonly readAhead: ReadAhead;
}

/** One link's part of what its principal may have. */
export interface Membership {
  readonly questions: FairShare;
  /** Memory for output on its way to any of its links. Undefined: each link has its own. */
  readonly readAhead: ReadAhead | undefined;
  /** The link is over. */
  leave(): void;
}

const owners: Membership = { questions: new FairShare(Infinity), readAhead: undefined, leave: () => undefined };

export class Principals {
  readonly #limits: PrincipalLimits;
  /** There are no more than callers.json had since the agent's start. */
  readonly #byName = new Map<string, Held>();

  constructor(limits: PrincipalLimits) {
    this.#limits = limits;
  }

  /** A link of this principal begins; else the reason why it may not. */
  enter(principal: Principal): Membership | string {
    if (isOwner(principal)) return owners;
    const { name } = principal;
    const { maxLinksPerPrincipal, maxQuestionsPerPrincipal, readAhead } = this.#limits;
    const held = this.#byName.get(name) ?? {
      links: 0,
      questions: new FairShare(maxQuestionsPerPrincipal),
      readAhead: new ReadAhead(readAhead),
    };
    this.#byName.set(name, held);
    if (held.links >= maxLinksPerPrincipal)
      return `${name} has ${held.links} links to this agent already (maxLinksPerPrincipal): close some of them`;
    held.links++;
    let over = false;
    const leave = (): void => {
      if (!over) held.links--;
      over = true;
    };
    return { questions: new FairShare(held.questions, 1), readAhead: held.readAhead, leave };
  }
}

/** The subjects of a fleet on the broker. They hold ids only: no names. */
import { randomBytes } from 'node:crypto';
import { base32 } from '../../text/nats-address.js';

/** Random bytes in the name of a link. */
const LINK_BYTES = 16;
/** Answers go to these subjects only. */
const INBOX = '_INBOX.';

export class Subjects {
  readonly #fleet: string;

  constructor(fleet: string) {
    this.#fleet = `sendall.1.${fleet}`;
  }

  /** Where callers ask a host for a link. */
  knock(host: string): string {
    return `${this.#fleet}.h.${host}`;
  }

  /** Where callers ask all hosts for their cards. */
  get discovery(): string {
    return `${this.#fleet}.d`;
  }

  /** One direction of a link: `u` to the host, `d` to its caller. `link`: `*` for all links of the host. */
  link(host: string, link: string, direction: 'u' | 'd'): string {
    return `${this.#fleet}.l.${host}.${link}.${direction}`;
  }
}

/** The link in the subject of a message of it. */
export function linkIn(subject: string): string | undefined {
  return /\.([a-z2-7]{26})\.[ud]$/.exec(subject)?.[1];
}

export const newLinkName = (): string => base32(randomBytes(LINK_BYTES));

export const isLinkName = (text: string): boolean => /^[a-z2-7]{26}$/.test(text);

/** The inbox of one connection of the user with this id. Its permissions may forbid the inboxes of others. */
export const newInbox = (id: string): string => `${INBOX}${id}.${base32(randomBytes(10))}`;

/** True for subjects that answers may go to. */
export const isInbox = (subject: string): boolean =>
  subject.startsWith(INBOX) && subject.length <= 200 && /^[\w.-]+$/.test(subject);

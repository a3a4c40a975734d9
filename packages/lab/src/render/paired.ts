/** Pairs of requests and answers as lines and as JSON. */
import type { PairedMessage, PairEvent } from '../proxy/pairs.js';
import { content, type Content } from '../wire/trace.js';
import { preview } from './inspected.js';

/** What became of a request, as a line for a terminal. */
export function renderPaired(event: PairEvent): string[] {
  const lead = `${`${event.atMs.toFixed(1)} ms`.padStart(11)}  #${event.connection} ↔`;
  switch (event.event) {
    case 'pair': {
      const { request, answer, answers, tookMs } = event;
      const count = answers === 1 ? '' : ` by ${answers} messages`;
      const said = `${says(request)} ${arrow(answer)} ${says(answer)}`;
      return [`${lead} request ${request.index} answered after ${tookMs.toFixed(1)} ms${count}: ${said}`];
    }
    case 'unanswered': {
      const { request, waitedMs, reason } = event;
      return [
        `${lead} request ${request.index} unanswered after ${waitedMs.toFixed(1)} ms (${reason}): ${says(request)}`,
      ];
    }
    default:
      return [`${lead} answer ${event.answer.index} to no request that was seen: ${says(event.answer)}`];
  }
}

function says({ payload, length }: PairedMessage): string {
  return preview(payload, length);
}

const arrow = ({ direction }: PairedMessage): string => (direction === 'up' ? '→' : '←');

type MessageJson = Omit<PairedMessage, 'payload'> & Content;

export type PairedJson =
  | (Omit<Extract<PairEvent, { event: 'pair' }>, 'request' | 'answer'> & {
      readonly request: MessageJson;
      readonly answer: MessageJson;
    })
  | (Omit<Extract<PairEvent, { event: 'unanswered' }>, 'request'> & { readonly request: MessageJson })
  | (Omit<Extract<PairEvent, { event: 'unasked' }>, 'answer'> & { readonly answer: MessageJson });

/** The pair as JSON: at most 256 bytes of each message, as text if possible, else hex. */
export function pairedJson(event: PairEvent): PairedJson {
  switch (event.event) {
    case 'pair':
      return { ...event, request: messageJson(event.request), answer: messageJson(event.answer) };
    case 'unanswered':
      return { ...event, request: messageJson(event.request) };
    default:
      return { ...event, answer: messageJson(event.answer) };
  }
}

function messageJson({ payload, ...rest }: PairedMessage): MessageJson {
  const shown = content(payload);
  return { ...rest, ...shown, ...(payload.length < rest.length && { cut: true as const }) };
}

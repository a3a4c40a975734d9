/** Turns a valid message into arguments for the lab: parses addresses and framings, and rejects wrong ones. */
import { parseAddress, type Address } from '../address.js';
import type { ExperimentOptions } from '../experiment/experiment.js';
import { checkFraming } from '../messages/tap.js';
import type { Asked } from './protocol.js';

/** @throws Error when the address or a framing is invalid */
export function inspection(asked: Asked<'inspect'>): { to: Address | 'demo'; framing: string; framingBack: string } {
  return { to: target(asked.to), framing: framing(asked.framing), framingBack: framing(asked.framingBack) };
}

/** @throws Error when it is not an address */
export function target(words: string): Address | 'demo' {
  const to = words.trim();
  return to === 'demo' ? 'demo' : parseAddress(to);
}

/** @throws Error when the framing is invalid */
export function experimentOptions(asked: Asked<'experiment'>): Omit<ExperimentOptions, 'via'> {
  const { messages, noDelay, delayMs, lateAck, readSize, framing } = asked;
  if (framing !== '') checkFraming(framing);
  return {
    messages,
    noDelay,
    delayMs,
    warmUp: lateAck ? 5 : 0,
    readSizes: [readSize],
    framing: framing === '' ? undefined : framing,
  };
}

function framing(words: string): string {
  const spec = words.trim();
  if (spec !== 'guess') checkFraming(spec);
  return spec;
}

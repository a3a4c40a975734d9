import { parseAddress, type Address } from '../address.js';
import type { ExperimentOptions } from '../experiment.js';
import type { FaultOptions } from '../faults/index.js';
import { phenomena } from '../phenomena/index.js';
import { checkFraming } from '../tap.js';

/** What the page may ask for. It comes from a browser: nothing in it is taken before it is checked. */
export type PageRequest =
  | { readonly type: 'show'; readonly id: number; readonly name: string }
  | {
      readonly type: 'experiment';
      readonly id: number;
      readonly options: Omit<ExperimentOptions, 'via'>;
      readonly faults: FaultOptions;
    }
  | {
      readonly type: 'inspect';
      readonly id: number;
      readonly to: Address | 'demo';
      readonly framing: string;
      readonly framingBack: string;
    }
  | {
      readonly type: 'chaos';
      readonly id: number;
      readonly to: Address | 'demo';
      readonly faults: FaultOptions;
      readonly seed: number;
    }
  | { readonly type: 'traffic' | 'stop'; readonly id: number; readonly view: View };

/** Who has a proxy of its own. */
export type View = 'inspect' | 'chaos';

const mostMessages = 16;
const longestMessage = 512;

/** @throws Error that says what is wrong, for the page to show */
export function readRequest(text: string): PageRequest {
  const value: unknown = JSON.parse(text);
  const fields = record(value, 'the request');
  const id = whole(fields, 'id', 0, Number.MAX_SAFE_INTEGER);
  const { type } = fields;
  switch (type) {
    case 'show': {
      const name = word(fields, 'name');
      if (!phenomena.some((phenomenon) => phenomenon.name === name))
        throw new Error(`there is no phenomenon "${name}"`);
      return { type, id, name };
    }
    case 'experiment':
      return { type, id, options: experimentOptions(fields), faults: faultOptions(fields['faults']) };
    case 'inspect':
      return {
        type,
        id,
        to: target(fields),
        framing: framing(fields, 'framing'),
        framingBack: framing(fields, 'framingBack'),
      };
    case 'chaos':
      return {
        type,
        id,
        to: target(fields),
        faults: faultOptions(fields['faults']),
        seed: whole(fields, 'seed', 0, 2 ** 32 - 1),
      };
    case 'traffic':
    case 'stop':
      return { type, id, view: view(fields) };
    default:
      throw new Error('the page asked for something that there is not');
  }
}

function experimentOptions(fields: Record<string, unknown>): Omit<ExperimentOptions, 'via'> {
  const messages: unknown = fields['messages'];
  if (!Array.isArray(messages) || messages.length === 0 || messages.length > mostMessages) {
    throw new Error(`send 1 to ${mostMessages} messages`);
  }
  for (const message of messages) {
    if (typeof message !== 'string' || Buffer.byteLength(message) > longestMessage) {
      throw new Error(`a message has at most ${longestMessage} bytes`);
    }
  }
  const spec = fields['framing'];
  if (spec !== '' && spec !== undefined) checkFraming(framing(fields, 'framing'));
  return {
    messages: messages as string[],
    noDelay: fields['noDelay'] === true,
    delayMs: number(fields, 'delayMs', 0, 1000),
    warmUp: fields['lateAck'] === true ? 5 : 0,
    readSizes: [whole(fields, 'readSize', 1, 65_536)],
    framing: typeof spec === 'string' && spec !== '' ? spec : undefined,
  };
}

function faultOptions(value: unknown): FaultOptions {
  if (value === undefined) return {};
  const fields = record(value, 'faults');
  const optional = (name: string, least: number, most: number) =>
    fields[name] === undefined || fields[name] === null ? undefined : number(fields, name, least, most);
  return {
    slice: optional('slice', 1, 65_536),
    coalesce: optional('coalesce', 1, 5000),
    latency: optional('latency', 1, 5000),
    jitter: optional('jitter', 1, 5000),
    throttle: optional('throttle', 1, 1e9),
    corrupt: optional('corrupt', 0, 1),
    stall: optional('stall', 1, 5000),
    cutEvery: optional('cutEvery', 1, 1e9),
    resetAfter: optional('resetAfter', 1, 1e9),
    halfClose: fields['halfClose'] === true,
  };
}

function view(fields: Record<string, unknown>): View {
  const name = fields['view'];
  if (name !== 'inspect' && name !== 'chaos') throw new Error('view must be inspect or chaos');
  return name;
}

function target(fields: Record<string, unknown>): Address | 'demo' {
  const to = word(fields, 'to').trim();
  return to === 'demo' ? 'demo' : parseAddress(to);
}

function framing(fields: Record<string, unknown>, name: string): string {
  const spec = word(fields, name).trim();
  if (spec !== 'guess') checkFraming(spec);
  return spec;
}

function record(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error(`${what} must be an object`);
  return value as Record<string, unknown>;
}

function word(fields: Record<string, unknown>, name: string): string {
  const value = fields[name];
  if (typeof value !== 'string' || value.length > 200) throw new Error(`${name} must be a short text`);
  return value;
}

function number(fields: Record<string, unknown>, name: string, least: number, most: number): number {
  const value = fields[name];
  if (typeof value !== 'number' || !(value >= least && value <= most)) {
    throw new Error(`${name} must be a number from ${least} to ${most}`);
  }
  return value;
}

function whole(fields: Record<string, unknown>, name: string, least: number, most: number): number {
  const value = number(fields, name, least, most);
  if (!Number.isInteger(value)) throw new Error(`${name} must be a whole number`);
  return value;
}

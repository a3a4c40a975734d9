/** Faults as toxiproxy names them: a toxic has a name, a type, a stream, a share of connections and attributes. */
import * as v from 'valibot';
import { faults, inFaultOrder, type DirectedFaultOptions, type DirectedFaults, type Fault } from '../faults/index.js';
import { FAULT_VALUES } from '../faults/values.js';
import { ControlError } from './error.js';

export interface Toxic {
  readonly name: string;
  readonly type: string;
  /** `upstream`: from the client to the server. */
  readonly stream: 'upstream' | 'downstream';
  /** The share of connections that have it, 0 to 1. */
  readonly toxicity: number;
  readonly attributes: Readonly<Record<string, number>>;
}

/** A toxic as a request describes it. */
export const toxicRequest = v.strictObject({
  name: v.optional(v.pipe(v.string(), v.regex(/^[\w.-]{1,100}$/))),
  type: v.optional(v.string()),
  stream: v.optional(v.picklist(['upstream', 'downstream'])),
  toxicity: v.optional(v.pipe(v.number(), v.minValue(0), v.maxValue(1))),
  attributes: v.optional(v.record(v.string(), v.pipe(v.number(), v.finite()))),
});

export type ToxicRequest = v.InferOutput<typeof toxicRequest>;

/** A number that a fault takes. */
interface Attribute {
  readonly fault: Exclude<keyof typeof FAULT_VALUES, 'half-close'>;
  /** Units of ours in one of toxiproxy's. @default 1 */
  readonly unit?: number;
}

interface Type {
  readonly attributes: Readonly<Record<string, Attribute>>;
  /** Attributes of toxiproxy that only this value may have here. */
  readonly fixed?: Readonly<Record<string, number>>;
}

/** Toxiproxy's types that are faults of ours, then our other faults by their own names. */
const types: Readonly<Record<string, Type>> = {
  latency: { attributes: { latency: { fault: 'latency' }, jitter: { fault: 'jitter' } } },
  bandwidth: { attributes: { rate: { fault: 'throttle', unit: 1000 } } },
  slicer: { attributes: { average_size: { fault: 'slice' } }, fixed: { size_variation: 0, delay: 0 } },
  limit_data: { attributes: { bytes: { fault: 'cut-every' } } },
  coalesce: { attributes: { ms: { fault: 'coalesce' } } },
  corrupt: { attributes: { chance: { fault: 'corrupt' } } },
  stall: { attributes: { ms: { fault: 'stall' } } },
  reset_after: { attributes: { bytes: { fault: 'reset-after' } } },
  half_close: { attributes: {} },
};

/**
 * A toxic from what a request says; what it leaves out is as in `before`, or as toxiproxy has it.
 * @throws ControlError that names what is wrong
 */
export function readToxic(request: ToxicRequest, before?: Toxic): Toxic {
  const type = request.type ?? before?.type;
  if (type === undefined) throw new ControlError(400, 'missing required field: type');
  if (before && type !== before.type) throw new ControlError(400, 'the type of a toxic does not change');
  if (!Object.hasOwn(types, type)) {
    throw new ControlError(400, `invalid toxic type "${type}": there are ${Object.keys(types).join(', ')}`);
  }
  const stream = before?.stream ?? request.stream ?? 'downstream';
  if (type === 'half_close' && stream === 'downstream') {
    throw new ControlError(400, 'half_close ends what goes upstream: its stream is "upstream"');
  }
  const toxic = {
    name: before?.name ?? request.name ?? `${type}_${stream}`,
    type,
    stream,
    toxicity: request.toxicity ?? before?.toxicity ?? 1,
    attributes: { ...before?.attributes, ...request.attributes },
  } as const;
  check(toxic);
  return toxic;
}

function check({ type, attributes }: Toxic): void {
  const { attributes: known, fixed = {} } = types[type]!;
  for (const [name, value] of Object.entries(attributes)) {
    if (Object.hasOwn(fixed, name)) {
      if (value !== fixed[name]) throw new ControlError(400, `${type} has ${name} ${fixed[name]} only`);
      continue;
    }
    if (!Object.hasOwn(known, name)) {
      const names = Object.keys(known).join(', ') || 'none';
      throw new ControlError(400, `${type} has no attribute "${name}": there are ${names}`);
    }
    const { fault, unit = 1 } = known[name]!;
    const rule: { least: number; most: number; whole?: boolean } = FAULT_VALUES[fault];
    if (value === 0) continue; // off
    const inOurs = value * unit;
    if (inOurs < rule.least || inOurs > rule.most || (rule.whole && unit === 1 && !Number.isInteger(value))) {
      const kind = rule.whole && unit === 1 ? 'a whole number' : 'a number';
      throw new ControlError(400, `${name} is ${kind} from ${rule.least / unit} to ${rule.most / unit}, not ${value}`);
    }
  }
  const needed = Object.keys(known).filter((name) => name !== 'jitter' && name !== 'latency');
  for (const name of needed) {
    if (attributes[name] === undefined) throw new ControlError(400, `missing required field: attributes.${name}`);
  }
}

/** The faults that toxics are, for each direction. */
export function faultsOf(toxics: readonly Toxic[]): DirectedFaults {
  const of = (stream: Toxic['stream']) =>
    inFaultOrder(toxics.filter((toxic) => toxic.stream === stream).flatMap(faultsOfOne));
  return { up: of('upstream'), down: of('downstream') };
}

function faultsOfOne({ type, toxicity, attributes }: Toxic): Fault[] {
  if (type === 'half_close') return faults({ halfClose: true }).map((fault) => ({ ...fault, share: toxicity }));
  const known = types[type]!.attributes;
  const options: Record<string, number> = {};
  for (const [name, { fault, unit = 1 }] of Object.entries(known)) {
    const value = attributes[name];
    if (value !== undefined) options[FAULT_VALUES[fault].key] = unit === 1 ? value : Math.round(value * unit);
  }
  return faults(options).map((fault) => (toxicity < 1 ? { ...fault, share: toxicity } : fault));
}

/** The toxics that faults of a command line are. */
export function toxicsOf({ up, down, ...both }: DirectedFaultOptions): Toxic[] {
  const toxics: Toxic[] = [];
  for (const [stream, options] of [
    ['upstream', { ...both, ...up }],
    ['downstream', { ...both, ...down }],
  ] as const) {
    for (const [type, { attributes: known }] of Object.entries(types)) {
      const attributes: Record<string, number> = {};
      for (const [name, { fault, unit = 1 }] of Object.entries(known)) {
        const value = options[FAULT_VALUES[fault].key];
        if (typeof value === 'number' && value > 0) attributes[name] = value / unit;
      }
      const wanted = type === 'half_close' ? options.halfClose === true && stream === 'upstream' : true;
      if (!wanted || (type !== 'half_close' && Object.keys(attributes).length === 0)) continue;
      toxics.push({ name: `${type}_${stream}`, type, stream, toxicity: 1, attributes });
    }
  }
  return toxics;
}

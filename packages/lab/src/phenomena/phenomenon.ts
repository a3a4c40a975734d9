/** The interface of a phenomenon, and of its findings. */
import type { Text } from '../lang.js';
import type { Trace } from '../wire/trace.js';
import type { PhenomenonName } from './names.js';

/** One experiment of a phenomenon: its setup, and what happened. */
export interface Observation {
  readonly name: string;
  readonly title: Text;
  readonly trace: Trace;
  /** How the bytes travelled. @default 'tcp' */
  readonly transport?: 'udp';
  /** The other direction of a dialogue. */
  readonly back?: Trace;
  /** Requests of several clients to one server, instead of one stream. */
  readonly requests?: readonly Request[];
  /** Measurements besides the trace, under their names in the JSON. */
  readonly facts?: Readonly<Record<string, number | string | boolean>>;
}

/** One client's request: when it was sent, and when its answer was whole. In milliseconds since the trace began. */
export interface Request {
  readonly fromMs: number;
  readonly toMs: number;
}

/** Measured values, in rows. */
export interface Table {
  readonly columns: readonly Text[];
  readonly rows: readonly (readonly (Text | number)[])[];
}

/** Measured values, for a plot. */
export interface Plot {
  readonly title: Text;
  readonly unit: string;
  readonly bars: readonly { readonly label: Text; readonly value: number }[];
}

/** The findings of a phenomenon. Its sentences are made from measurements, so they cannot claim what did not happen. */
export interface Shown {
  readonly observations: readonly Observation[];
  /** The result in a sentence, without a full stop. */
  readonly verdict: Text;
  readonly explanation: Text;
  readonly table?: Table;
  readonly plot?: Plot;
  /** What this machine could not show, and why. */
  readonly notShown?: Text;
}

/** Something that happens on sockets, shown and measured. */
export interface Phenomenon {
  readonly name: PhenomenonName;
  readonly title: Text;
  /** The chapter's statement about it. */
  readonly chapter: Text;
  show(options: ShowOptions): Promise<Shown>;
}

export interface ShowOptions {
  /** Watches segments as well, with a capture or the kernel's counters. @default true */
  readonly segments?: boolean;
  readonly signal?: AbortSignal | undefined;
  /** Called before each step of a long run. */
  readonly onProgress?: ((step: Step) => void) | undefined;
}

/** A step of a long run that begins. */
export interface Step {
  /** Steps before it. */
  readonly done: number;
  readonly of: number;
  readonly what: Text;
}

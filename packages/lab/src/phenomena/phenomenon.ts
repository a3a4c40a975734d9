/** What a phenomenon is, and what it shows. */
import type { Text } from '../lang.js';
import type { Trace } from '../wire/trace.js';
import type { PhenomenonName } from './names.js';

/** One experiment of a phenomenon: what was set up, and what happened. */
export interface Observation {
  readonly name: string;
  readonly title: Text;
  readonly trace: Trace;
  /** Measured besides the trace, under the names that the JSON gives them. */
  readonly facts?: Readonly<Record<string, number | string | boolean>>;
}

/** Measured values, in rows. */
export interface Table {
  readonly columns: readonly Text[];
  readonly rows: readonly (readonly (string | number)[])[];
}

/** Measured values, to be drawn. */
export interface Plot {
  readonly title: Text;
  readonly unit: string;
  readonly bars: readonly { readonly label: string; readonly value: number }[];
}

/** What a phenomenon showed. Its sentences are made from what was measured, so they cannot claim what did not happen. */
export interface Shown {
  readonly observations: readonly Observation[];
  readonly explanation: Text;
  readonly table?: Table;
  readonly plot?: Plot;
  /** What this machine did not let us show, and why. */
  readonly notShown?: Text;
}

/** Something that happens on sockets, shown and measured. */
export interface Phenomenon {
  readonly name: PhenomenonName;
  readonly title: Text;
  /** What the chapter says about it. */
  readonly chapter: Text;
  show(options: ShowOptions): Promise<Shown>;
}

export interface ShowOptions {
  /** Look for segments as well, by a capture or the kernel's counters. @default true */
  readonly segments?: boolean;
  readonly signal?: AbortSignal | undefined;
}

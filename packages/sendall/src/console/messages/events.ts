/** What each kind of subscription answers first, and its events. The page checks them. */
import * as v from 'valibot';
import {
  count,
  gap,
  hostRow,
  hostStatus,
  list,
  listing,
  map,
  maybe,
  number,
  object,
  oneOf,
  record,
  result,
  silent,
  text,
  truth,
} from './fields.js';
import type { Kind } from './subscriptions.js';

const offsets = object({ stdout: count(), stderr: count() });

/** Of an attachment to a run. */
const joined = object({
  /** "history": the host no longer knows the run, or cannot be reached; this is what the history keeps. */
  source: oneOf(['host', 'history']),
  terminal: truth(),
  /** Offsets of the first bytes that come. */
  from: offsets,
  /** Offsets up to which all is old. */
  have: offsets,
  startMs: maybe(number()),
  /** The sequences that put a terminal into the modes of the run's. */
  screen: maybe(text()),
  control: truth(),
});
const runEvents = [
  object({ event: v.literal('started'), pid: number() }),
  /** The link to the host is lost; another one is being made. */
  object({ event: v.literal('lost'), reason: text() }),
  object({ event: v.literal('resumed'), offsets }),
  object({ event: v.literal('gap'), ...gap.entries }),
  /** This page has taken control, or has lost it to another caller or given it back. */
  object({ event: v.literal('control'), held: truth() }),
  object({ event: v.literal('result'), result }),
] as const;
const nothing = object({});

export const OPENED = {
  hosts: nothing,
  runs: nothing,
  output: joined,
  terminal: joined,
  fleet: object({ live: truth() }),
  audit: nothing,
} as const satisfies Readonly<Record<Kind, v.GenericSchema>>;

export const EVENTS = {
  hosts: v.variant('event', [
    object({ event: v.literal('hosts'), hosts: list(hostRow), words: list(text()), problem: maybe(text()) }),
    object({
      event: v.literal('host'),
      host: text(),
      state: oneOf(['asking', 'up', 'unreachable', 'refused']),
      rttMs: maybe(number()),
      version: maybe(text()),
      principal: maybe(text()),
      roles: maybe(list(text())),
      reason: maybe(text()),
    }),
  ]),
  runs: v.variant('event', [
    object({ event: v.literal('runs'), host: text(), runs: list(listing), cut: truth() }),
    object({ event: v.literal('silent'), ...silent.entries }),
  ]),
  output: v.variant('event', runEvents),
  terminal: v.variant('event', runEvents),
  fleet: v.variant('event', [
    object({ event: v.literal('hosts'), hosts: list(hostStatus) }),
    object({ event: v.literal('ended'), ok: truth(), outcomes: map(count()) }),
  ]),
  audit: v.variant('event', [object({ event: v.literal('records'), records: list(record) })]),
} as const satisfies Readonly<Record<Kind, v.GenericSchema>>;

/** The value of a subscription's answer. */
export type Opened<K extends Kind> = v.InferOutput<(typeof OPENED)[K]>;
/** A subscription's events. */
export type EventOf<K extends Kind> = v.InferOutput<(typeof EVENTS)[K]>;

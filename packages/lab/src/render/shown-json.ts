/** A phenomenon as JSON. */
import type { Lang } from '../lang.js';
import type { Observation, Phenomenon, Plot, Shown, Table } from '../phenomena/index.js';
import { spanJson, type Acknowledgement, type Segments, type SpanJson, type Trace } from '../wire/trace.js';

export interface TraceJson {
  readonly writes: readonly SpanJson[];
  readonly reads: readonly SpanJson[];
  readonly messages: readonly SpanJson[];
  readonly segments?:
    | Exclude<Segments, { source: 'capture' }>
    | {
        readonly source: 'capture';
        readonly count: number;
        readonly spans: readonly SpanJson[];
        readonly repeated: number;
        readonly acknowledgements: readonly Acknowledgement[];
      };
}

export interface ShownJson extends TraceJson {
  readonly phenomenon: Phenomenon['name'];
  readonly title: string;
  readonly chapter: string;
  readonly verdict: string;
  readonly explanation: string;
  readonly observations: readonly (TraceJson & {
    readonly name: string;
    readonly title: string;
    readonly back?: TraceJson;
    readonly requests?: Observation['requests'];
    readonly facts?: Observation['facts'];
  })[];
  readonly table?: { readonly columns: readonly string[]; readonly rows: readonly (readonly (string | number)[])[] };
  readonly plot?: {
    readonly title: string;
    readonly unit: string;
    readonly bars: readonly { readonly label: string; readonly value: number }[];
  };
  readonly notShown?: string;
}

/**
 * A phenomenon as data. `writes`, `reads` and `messages` belong to the first observation; `observations` holds all of
 * them, each with its name, title and facts.
 */
export function shownJson(phenomenon: Phenomenon, shown: Shown, lang: Lang): ShownJson {
  const { observations, table, plot, notShown, verdict, explanation } = shown;
  return {
    phenomenon: phenomenon.name,
    title: phenomenon.title[lang],
    chapter: phenomenon.chapter[lang],
    ...traceJson(observations[0]?.trace),
    verdict: verdict[lang],
    explanation: explanation[lang],
    observations: observations.map(({ name, title, trace, back, requests, facts }) => ({
      name,
      title: title[lang],
      ...traceJson(trace),
      ...(back && { back: traceJson(back) }),
      ...(requests && { requests }),
      ...(facts && { facts }),
    })),
    ...(table && { table: { columns: table.columns.map((column) => column[lang]), rows: rowsOf(table, lang) } }),
    ...(plot && { plot: { title: plot.title[lang], unit: plot.unit, bars: barsOf(plot, lang) } }),
    ...(notShown && { notShown: notShown[lang] }),
  };
}

export const rowsOf = ({ rows }: Table, lang: Lang): (string | number)[][] =>
  rows.map((row) => row.map((cell) => (typeof cell === 'number' ? cell : cell[lang])));

export const barsOf = ({ bars }: Plot, lang: Lang): { label: string; value: number }[] =>
  bars.map(({ label, value }) => ({ label: label[lang], value }));

export function traceJson(trace: Trace | undefined): TraceJson {
  if (!trace) return { writes: [], reads: [], messages: [] };
  const { writes, reads, messages, segments } = trace;
  return {
    writes: writes.map(spanJson),
    reads: reads.map(spanJson),
    messages: messages.map(spanJson),
    ...(segments && {
      segments: segments.source === 'capture' ? { ...segments, spans: segments.spans.map(spanJson) } : segments,
    }),
  };
}

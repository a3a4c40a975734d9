import type { Lang } from './lang.js';
import type { Phenomenon, Shown } from './phenomena/index.js';
import { spanJson, type Trace } from './trace.js';

/**
 * A phenomenon as data. `writes`, `reads` and `messages` are those of the first observation; `observations` holds all of
 * them, each with its name, title and facts.
 */
export function shownJson(phenomenon: Phenomenon, shown: Shown, lang: Lang): object {
  const { observations, table, plot, notShown, explanation } = shown;
  return {
    phenomenon: phenomenon.name,
    title: phenomenon.title[lang],
    chapter: phenomenon.chapter[lang],
    ...traceJson(observations[0]?.trace),
    explanation: explanation[lang],
    observations: observations.map(({ name, title, trace, facts }) => ({
      name,
      title: title[lang],
      ...traceJson(trace),
      ...(facts && { facts }),
    })),
    ...(table && { table: { columns: table.columns.map((column) => column[lang]), rows: table.rows } }),
    ...(plot && { plot: { title: plot.title[lang], unit: plot.unit, bars: plot.bars } }),
    ...(notShown && { notShown: notShown[lang] }),
  };
}

export function traceJson(trace: Trace | undefined): object {
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

/** The names of the phenomena, in the chapter's order, for code that needs only the names (such as the page). */
export const PHENOMENON_NAMES = [
  'sticky',
  'leftover',
  'udp',
  'empty',
  'loss',
  'ready',
  'prefix',
  'rtt',
  'concurrency',
] as const;

export type PhenomenonName = (typeof PHENOMENON_NAMES)[number];

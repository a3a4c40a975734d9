/** What `inspect` and `replay` share: events as lines, by filter, with pairs. */
import { FilterError, parseFilter } from '../messages/filter.js';
import { parseIdentify, IDENTITIES } from '../messages/identities.js';
import { Inspector, type Framings, type InspectEvent } from '../proxy/inspector.js';
import { Pairs, type PairEvent } from '../proxy/pairs.js';
import type { ProxyEvent } from '../proxy/proxy.js';
import { filterable } from '../render/filterable.js';
import { inspectedJson, renderInspected } from '../render/inspected.js';
import { pairedJson, renderPaired } from '../render/paired.js';
import { checked, UsageError, type Arguments, type Option } from './command.js';
import { limitsOf, viewLimits } from './limits.js';

export const viewOptions: Readonly<Record<string, Option>> = {
  filter: {
    value: 'FILTER',
    help:
      'shows only what fits, such as: from client and size > 100 and text "HELLO". Terms: from|to client|server, ' +
      'connection 1-3,7, size|time|took > N, text "…", hex 0d0a, glued, split, partial, whole, unanswered, is close; ' +
      'joined by and, or, not and ( )',
  },
  pairs: {
    value: 'HOW',
    help:
      'also shows requests with their answers and the time between. HOW is auto (by what fits the framing), ' +
      `${Object.keys(IDENTITIES).join(', ')} or AT:LENGTH, the place of an id`,
    complete: ['auto', ...Object.keys(IDENTITIES)],
  },
  json: { help: 'one object a line' },
};

export interface View {
  see(event: ProxyEvent, atMs: number): void;
  /** Nothing more comes. */
  end(): void;
}

/** @throws UsageError when a framing, the filter or the way to pair is wrong */
export function openView(args: Arguments, framings: Framings, show: (lines: string[]) => void): View {
  const json = args.on('json');
  const fits = filterOf(args);
  const how = args.text('pairs');
  const display = (event: InspectEvent | PairEvent): void => {
    if (fits && !fits(filterable(event))) return;
    if (isPair(event)) show(json ? [JSON.stringify(pairedJson(event))] : renderPaired(event));
    else show(json ? [JSON.stringify(inspectedJson(event))] : renderInspected(event));
  };
  const { outstanding } = limitsOf(args, viewLimits);
  const identify = how === undefined || how === 'auto' ? undefined : checked(() => parseIdentify(how));
  const pairs = how === undefined ? undefined : new Pairs(framings, { identify, outstanding }, display);
  const inspector = checked(
    () =>
      new Inspector(framings, (event) => {
        display(event);
        pairs?.see(event);
      }),
  );
  return {
    see: (event, atMs) => inspector.see(event, atMs),
    end: () => pairs?.end(),
  };
}

function isPair(event: InspectEvent | PairEvent): event is PairEvent {
  return event.event === 'pair' || event.event === 'unanswered' || event.event === 'unasked';
}

function filterOf(args: Arguments) {
  const source = args.text('filter');
  if (source === undefined) return undefined;
  try {
    return parseFilter(source);
  } catch (error) {
    if (error instanceof FilterError) throw new UsageError(error.message);
    throw error;
  }
}

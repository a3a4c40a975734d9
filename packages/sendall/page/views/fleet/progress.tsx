/** A fleet run's progress: one bar of all hosts by kind, and under it each kind with its shape, word and number. */
import { t } from '../../frame/words.js';
import { countText } from '../../parts/format.js';
import { State } from '../../parts/state.js';
import { partWidths } from './bar.js';
import { KINDS, type FleetHosts, type Kind } from './hosts.js';
import { LOOKS } from './kinds.js';

export interface ProgressProps {
  readonly hosts: FleetHosts;
  /** The kinds that the list of hosts is narrowed to. */
  readonly chosen: ReadonlySet<Kind>;
  readonly onChoose: (kind: Kind) => void;
}

export function Progress({ hosts, chosen, onChoose }: ProgressProps) {
  const counts = KINDS.map((kind) => hosts.count(kind));
  const widths = partWidths(counts);
  const said = KINDS.flatMap((kind, i) => (counts[i] ? [`${countText(counts[i])} ${t(LOOKS[kind].word)}`] : []));
  return (
    <div class="progress">
      <div class="bar" role="img" aria-label={said.join(', ')}>
        {KINDS.map((kind, i) => (
          <div key={kind} class={`part part-${kind}`} hidden={widths[i] === 0} style={{ flexBasis: `${widths[i]}%` }}>
            <span>{t(LOOKS[kind].word)}</span>
          </div>
        ))}
      </div>
      <div class="kinds" role="group" aria-label={t('fleetNarrow')}>
        {KINDS.map((kind, i) => {
          const { shape, tone, word } = LOOKS[kind];
          const count = counts[i] ?? 0;
          return (
            <button
              key={kind}
              type="button"
              class={`kind kind-${kind}`}
              aria-pressed={chosen.has(kind)}
              hidden={count === 0 && !chosen.has(kind)}
              onClick={() => onChoose(kind)}
            >
              <State shape={shape} tone={tone}>
                <b>{countText(count)}</b> {t(word)}
              </State>
            </button>
          );
        })}
      </div>
    </div>
  );
}

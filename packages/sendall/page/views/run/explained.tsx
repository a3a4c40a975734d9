/** What a run would do: its hosts, its batches, and what policy says to it. */
import type { Value } from '../../../dist/console/messages.js';
import { t } from '../../frame/words.js';
import { Foreign } from '../../parts/foreign.js';
import { plain } from '../../parts/printable.js';
import { countText } from '../../parts/format.js';
import { State, type Shape, type Tone } from '../../parts/state.js';

type Explanation = Value<'explain'>;

/** Hosts that are asked which rule decides, and batches that are drawn. */
export const MOST_ASKED = 4;
const MOST_BATCHES = 6;

const MAY = {
  all: ['done', 'good', 'may_all'],
  allow: ['done', 'good', 'may_allow'],
  deny: ['failed', 'bad', 'may_deny'],
  unknown: ['warning', 'warn', 'may_unknown'],
} as const satisfies Record<Explanation['policy'][number]['may'], readonly [Shape, Tone, string]>;

export function Explained({ explanation }: { explanation: Explanation }) {
  const { count, folded, batches, canary, window, maxFail, policy } = explanation;
  return (
    <section class="explained" aria-labelledby="explained-title">
      <h2 id="explained-title">{t('explained')}</h2>
      <dl class="facts">
        <dt>{t('exHosts')}</dt>
        <dd class="two-lines">
          {countText(count)}{' '}
          <span class="mono">
            <Foreign text={folded} most={600} />
          </span>
        </dd>
        {count > 1 && (
          <>
            <dt>{t('exBatches')}</dt>
            <dd>
              {batches.length <= 1 ? (
                t('exAtOnce', { n: countText(window) })
              ) : (
                <ol class="batches">
                  {batches.slice(0, MOST_BATCHES).map(({ hosts, size }, i) => (
                    <li key={i}>
                      <span class="num">{countText(size)}</span>
                      <span class="mono cut">
                        <Foreign text={hosts} most={300} />
                      </span>
                    </li>
                  ))}
                  {batches.length > MOST_BATCHES && (
                    <li class="quiet">{t('exMoreBatches', { n: countText(batches.length - MOST_BATCHES) })}</li>
                  )}
                </ol>
              )}
              {canary ? <p class="hint">{t('exCanary', { n: canary })}</p> : undefined}
              {maxFail === undefined ? undefined : <p class="hint">{t('exMaxFail', { n: maxFail })}</p>}
            </dd>
          </>
        )}
        <dt>{t('exPolicy')}</dt>
        <dd>
          <ul class="verdicts">
            {policy.map(({ host, may, sentence, rule }) => {
              const [shape, tone, word] = MAY[may];
              return (
                <li key={host}>
                  <State shape={shape} tone={tone}>
                    {t(word)}
                  </State>
                  <span class="mono">
                    <Foreign text={host} />
                  </span>
                  <span class="quiet">
                    {may === 'all'
                      ? t('exOwner')
                      : rule === undefined
                        ? plain(sentence)
                        : t('exRule', { rule: plain(rule) })}
                  </span>
                </li>
              );
            })}
          </ul>
          {policy.length < count && <p class="hint">{t('exAsked', { n: policy.length, all: countText(count) })}</p>}
        </dd>
      </dl>
      <p class="hint">{t('exNothing')}</p>
    </section>
  );
}

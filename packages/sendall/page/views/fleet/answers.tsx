/** The answers of a fleet's hosts: equal ones once, the largest group first, and how the others differ from it. */
import { useEffect, useState } from 'preact/hooks';
import { useStore } from '../../frame/store.js';
import { t } from '../../frame/words.js';
import { Foreign } from '../../parts/foreign.js';
import { bytesText, countText } from '../../parts/format.js';
import { State } from '../../parts/state.js';
import { kindOf } from './hosts.js';
import { endWord, LOOKS } from './kinds.js';
import { readSample } from './sample.js';
import type { Answers, Differences, WatchedFleet } from './watched.js';

type Group = Answers['groups'][number];
type Changes = Differences['others'][number]['changes'];

/** Lines of a sample before "all". */
const FEW_LINES = 8;
/** Lines that are drawn at all. */
const MOST_LINES = 400;

export function AnswersOf({ fleet }: { fleet: WatchedFleet }) {
  const answers = useStore(fleet.answers);
  const differences = useStore(fleet.differences);
  const total = fleet.hosts.total;
  if (!answers) return <p class="list-empty">{t('fleetAsking')}</p>;
  const { groups, others, pending } = answers;
  if (groups.length === 0) return <p class="list-empty">{pending > 0 ? t('fleetNoAnswers') : t('fleetNone')}</p>;
  const majority = groups[0]!;
  return (
    <ol class="answers">
      {groups.map((group) => (
        <Answer
          key={keyOf(group)}
          group={group}
          share={group.size / Math.max(1, total)}
          majority={group === majority ? undefined : majority}
          changes={differences?.others.find((other) => keyOf(other.group) === keyOf(group))?.changes}
          onCompare={() => fleet.compare()}
        />
      ))}
      {others > 0 && <li class="note">{t('fleetMoreGroups', { n: countText(others) })}</li>}
    </ol>
  );
}

/** What groups of two looks have in common when they are the same answer. */
const keyOf = ({ outcome, code, signal, stdout, stderr }: Group) =>
  JSON.stringify([outcome, code, signal, stdout.bytes, stderr.bytes, stdout.base64, stderr.base64]);

interface AnswerProps {
  readonly group: Group;
  /** Of all hosts. */
  readonly share: number;
  /** The largest group; undefined: this is it. */
  readonly majority: Group | undefined;
  readonly changes: Changes | undefined;
  readonly onCompare: () => void;
}

function Answer({ group, share, majority, changes, onCompare }: AnswerProps) {
  const isAnswer = (each: Group) => ['ok', 'failed', 'signalled'].includes(each.outcome);
  const isComparable = majority !== undefined && isAnswer(group) && isAnswer(majority);
  // A group may have been the largest one before.
  const [chosen, setCompares] = useState<boolean>();
  const compares = chosen ?? isComparable;
  const { shape, tone } = LOOKS[kindOf({ state: 'exited', ...group })];
  useEffect(() => {
    if (compares && isComparable) onCompare();
  }, [compares, isComparable]);
  return (
    <li class="answer">
      <div class="answer-head">
        <State shape={shape} tone={tone}>
          {endWord({ state: group.outcome, code: group.code, signal: group.signal })}
        </State>
        <span class="answer-count">
          {group.size === 1 ? t('oneHost') : t('manyHosts', { n: countText(group.size) })}
        </span>
        <span class="share" aria-hidden="true">
          <span style={{ width: `${Math.max(1, 100 * share)}%` }} />
        </span>
        {isComparable && (
          <div class="seg">
            <button type="button" aria-pressed={compares} onClick={() => setCompares(true)}>
              {t('fleetDiff')}
            </button>
            <button type="button" aria-pressed={!compares} onClick={() => setCompares(false)}>
              {t('output')}
            </button>
          </div>
        )}
      </div>
      <details class="answer-hosts">
        <summary class="mono cut">
          <Foreign text={group.hosts} most={2000} />
        </summary>
        <p class="mono">
          <Foreign text={group.hosts} most={20_000} />
        </p>
      </details>
      {isAnswer(group) || group.stdout.bytes + group.stderr.bytes > 0 ? (
        compares ? (
          <Difference changes={changes} />
        ) : (
          <Outputs group={group} />
        )
      ) : (
        <p class="answer-reason">
          <Foreign text={group.reason} most={2000} />
        </p>
      )}
    </li>
  );
}

function Outputs({ group: { stdout, stderr } }: { group: Group }) {
  if (stdout.bytes + stderr.bytes === 0) return <p class="answer-reason quiet">{t('noOutputAtAll')}</p>;
  return (
    <>
      {stdout.bytes > 0 && <Output stream="stdout" sample={stdout} />}
      {stderr.bytes > 0 && <Output stream="stderr" sample={stderr} />}
    </>
  );
}

function Output({ stream, sample }: { stream: 'stdout' | 'stderr'; sample: Group['stdout'] }) {
  const [all, setAll] = useState(false);
  if (sample.base64 === undefined)
    return <p class="answer-reason quiet">{t('fleetNotKept', { n: bytesText(sample.bytes) })}</p>;
  const { lines, more } = readSample(sample);
  const shown = lines.slice(0, all ? MOST_LINES : FEW_LINES);
  const rest = lines.length - shown.length;
  return (
    <div class={`sample ${stream}`}>
      <pre tabIndex={0} role="region" aria-label={t('fleetSample', { stream })}>
        {shown.map((line, i) => (
          <div key={i}>
            <Foreign text={line} most={1000} />
          </div>
        ))}
      </pre>
      {(rest > 0 || more) && (
        <p class="sample-more">
          {rest > 0 && !all && (
            <button type="button" class="btn ghost" onClick={() => setAll(true)}>
              {t('fleetMoreLines', { n: countText(rest) })}
            </button>
          )}
          {(more || (all && rest > 0)) && (
            <span class="quiet">{t('fleetSampleCut', { n: bytesText(sample.bytes) })}</span>
          )}
        </p>
      )}
    </div>
  );
}

const SIGNS = { same: ' ', added: '+', removed: '−' } as const;
const SIGN_WORDS = { same: 'diffSame', added: 'diffAdded', removed: 'diffRemoved' } as const;

/** The lines that are drawn. Text that ends in a newline has no line behind it. */
const withoutEnd = (lines: Changes[number]['lines']) =>
  (lines.at(-1)?.text === '' ? lines.slice(0, -1) : lines).slice(0, MOST_LINES);

function Difference({ changes }: { changes: Changes | undefined }) {
  if (!changes) return <p class="answer-reason quiet">{t('fleetComparing')}</p>;
  if (changes.every(({ lines }) => lines.length === 0)) return <p class="answer-reason quiet">{t('diffNone')}</p>;
  return (
    <>
      {changes.map(({ stream, lines, cut }) => (
        <div key={stream} class={`sample ${stream}`} hidden={lines.length === 0}>
          <pre class="diff" tabIndex={0} role="region" aria-label={t('diffOf', { stream })}>
            {withoutEnd(lines).map(({ kind, text }, i) => (
              <div key={i} class={`diff-${kind}`}>
                <span class="diff-sign" aria-hidden="true">
                  {SIGNS[kind]}
                </span>
                <span class="sr">{t(SIGN_WORDS[kind])}: </span>
                <Foreign text={text} most={1000} />
              </div>
            ))}
          </pre>
          {(cut || lines.length > MOST_LINES) && <p class="sample-more quiet">{t('diffCut')}</p>}
        </div>
      ))}
      <p class="sample-more quiet">{t('diffLegend')}</p>
    </>
  );
}

/** A new run: targets with a live count, words or shell text, options; Explain before Run. */
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Value } from '../../dist/console/messages.js';
import { announce } from '../frame/announce.js';
import { feed, type FeedError } from '../frame/feed.js';
import { goTo, type Place } from '../frame/place.js';
import { useStore } from '../frame/store.js';
import { t } from '../frame/words.js';
import { Dialog } from '../parts/dialog.js';
import { plain } from '../parts/printable.js';
import { countText } from '../parts/format.js';
import { hosts, useHosts } from '../parts/host-states.js';
import { Icon } from '../parts/icon.js';
import { startRun } from '../parts/start-run.js';
import { TargetField } from '../parts/target-field.js';
import { HostIndex } from '../parts/targets.js';
import { draft, optionFields, OPTION_WORDS, requestOf, type Draft, type OptionField } from './run/draft.js';
import { Explained, MOST_ASKED } from './run/explained.js';
import { WordsEditor } from './run/words-editor.js';

/** A run on more hosts asks for their number first. */
const MOST_UNASKED = 10;
const nothing = new HostIndex([], []);

type Meaning = { readonly count: number; readonly folded: string } | { readonly problem: string } | undefined;

/** What the targets mean to the console, once the typing has rested. */
function useMeaning(targets: string): { meaning: Meaning; isAsking: boolean } {
  const [known, setKnown] = useState<{ targets: string; meaning: Meaning }>({ targets: '', meaning: undefined });
  const link = useStore(feed.link);
  useEffect(() => {
    let isCurrent = true;
    const tell = (meaning: Meaning) => isCurrent && setKnown({ targets, meaning });
    if (targets.trim() === '') return void tell(undefined);
    const timer = setTimeout(() => {
      feed.ask('resolve', { targets }).then(
        ({ count, folded }) => tell({ count, folded }),
        ({ message }: FeedError) => tell({ problem: message }),
      );
    }, 150);
    return () => {
      isCurrent = false;
      clearTimeout(timer);
    };
  }, [targets, link.state]);
  return { meaning: known.meaning, isAsking: known.targets !== targets };
}

export function RunForm({ place }: { place: Place }) {
  useHosts();
  const index = useStore(hosts) ?? nothing;
  const written = useStore(draft);
  const welcome = useStore(feed.greeting);
  const [explanation, setExplanation] = useState<Value<'explain'>>();
  const [problem, setProblem] = useState<string>();
  const [doing, setDoing] = useState<'explain' | 'run'>();
  const [isAsking, setAsking] = useState(false);
  const form = useRef<HTMLFormElement>(null);
  const { meaning, isAsking: isCounting } = useMeaning(written.targets);

  useEffect(() => {
    const { targets } = place.values;
    if (targets !== undefined) draft.value = { ...draft.value, targets };
  }, [place.values.targets]);

  function change(part: Partial<Draft>) {
    draft.value = { ...draft.value, ...part };
    setExplanation(undefined);
    setProblem(undefined);
  }

  const count = meaning && 'count' in meaning ? meaning.count : undefined;
  const isFleet = (count ?? 0) > 1;
  const isCommand = written.isShell ? written.script.trim() !== '' : written.argv[0] !== '';
  // The number of hosts that is known must be theirs.
  const isReady = !isCounting && count !== undefined && count > 0 && isCommand && doing === undefined;

  function explain() {
    const request = requestOf(written, isFleet);
    if ('problem' in request) return setProblem(request.problem);
    setDoing('explain');
    setProblem(undefined);
    // What is changed meanwhile means something else.
    const isAsked = () => draft.value === written;
    feed
      .ask('explain', { ...request, policy: MOST_ASKED })
      .then(
        (answer) => {
          if (!isAsked()) return;
          setExplanation(answer);
          announce(t('explained'));
        },
        ({ message }: FeedError) => isAsked() && setProblem(message),
      )
      .finally(() => setDoing(undefined));
  }

  function submit() {
    if (!isReady || welcome?.readOnly) return;
    if (count > MOST_UNASKED) setAsking(true);
    else run();
  }

  function run() {
    const request = requestOf(written, isFleet);
    if ('problem' in request) return setProblem(request.problem);
    setAsking(false);
    setDoing('run');
    setProblem(undefined);
    startRun(request)
      .then(
        ({ kind, runId, host }) =>
          kind === 'fleet' ? goTo('fleet', [runId]) : goTo('runs', [host ?? written.targets, runId]),
        ({ message }: FeedError) => setProblem(message),
      )
      .finally(() => setDoing(undefined));
  }

  return (
    <div class="view scrolls">
      <div class="head">
        <h1>{t('runTitle')}</h1>
      </div>
      <div class="run-page">
        <form
          ref={form}
          class="run-form"
          onSubmit={(event) => {
            event.preventDefault();
            submit();
          }}
        >
          <div class="field">
            <label for="run-targets">{t('targets')}</label>
            <TargetField
              id="run-targets"
              isFirst
              label={t('targets')}
              placeholder={t('targetsHint')}
              hosts={index}
              value={written.targets}
              onInput={(targets) => change({ targets })}
            />
            <MeaningLine meaning={meaning} isAsking={isCounting} targets={written.targets} />
          </div>
          <div class="field">
            <div class="field-head">
              <span class="label">{t('commandKind')}</span>
              <div class="seg" role="group" aria-label={t('commandKind')}>
                {[false, true].map((isShell) => (
                  <button
                    key={String(isShell)}
                    type="button"
                    aria-pressed={written.isShell === isShell}
                    onClick={() => change({ isShell })}
                  >
                    {t(isShell ? 'asShell' : 'asWords')}
                  </button>
                ))}
              </div>
            </div>
            {written.isShell ? (
              <textarea
                class="input mono script"
                rows={6}
                spellcheck={false}
                aria-label={t('script')}
                aria-describedby="words-hint"
                value={written.script}
                onInput={({ currentTarget }) => change({ script: currentTarget.value })}
                onKeyDown={(event) => {
                  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) submit();
                }}
              />
            ) : (
              <WordsEditor words={written.argv} onChange={(argv) => change({ argv })} onSubmit={submit} />
            )}
            <p class="hint" id="words-hint">
              {t(written.isShell ? 'scriptHint' : 'wordsHint')}
            </p>
          </div>
          <OptionFields written={written} isFleet={isFleet} onChange={change} />
          {problem !== undefined && (
            <p class="note bad" role="alert">
              {plain(problem)}
            </p>
          )}
          <div class="run-actions">
            <button type="submit" class="btn primary" disabled={!isReady || welcome?.readOnly}>
              <Icon name="run" />
              {doing === 'run'
                ? t('starting')
                : count !== undefined && count > 1
                  ? t('startRunOn', { n: countText(count) })
                  : t('startRun')}
            </button>
            <button type="button" class="btn" disabled={!isReady} onClick={explain}>
              {t(doing === 'explain' ? 'explaining' : 'explain')}
            </button>
            {welcome?.readOnly && <span class="quiet small">{t('readOnlyWhy')}</span>}
          </div>
        </form>
        {explanation && <Explained explanation={explanation} />}
      </div>
      {isAsking && count !== undefined && <Confirm count={count} onClose={() => setAsking(false)} onSure={run} />}
    </div>
  );
}

function MeaningLine({ meaning, isAsking, targets }: { meaning: Meaning; isAsking: boolean; targets: string }) {
  if (targets.trim() === '') return <p class="hint">{t('targetsEmpty')}</p>;
  if (meaning === undefined) return <p class="hint">{t('counting')}</p>;
  if ('problem' in meaning) return <p class="problem">{plain(meaning.problem)}</p>;
  const { count, folded } = meaning;
  const shown = folded.length > 400 ? `${folded.slice(0, 400)}…` : folded;
  return (
    <p class={`hint two-lines ${isAsking ? 'old' : ''}`} role="status">
      <b>{t(count === 1 ? 'targetsMeanOne' : 'targetsMean', { n: countText(count), hosts: '' })}</b>
      <span class="mono">{plain(shown)}</span>
    </p>
  );
}

function OptionFields(props: { written: Draft; isFleet: boolean; onChange: (part: Partial<Draft>) => void }) {
  const { written, isFleet, onChange } = props;
  const { fields, env } = written;
  const isSet = env !== '' || Object.values(fields).some(Boolean);
  const [isOpen, setOpen] = useState(isSet);
  const field = (name: OptionField) => (
    <div key={name} class="field">
      <label for={`option-${name}`}>{t(OPTION_WORDS[name])}</label>
      <input
        id={`option-${name}`}
        class="input"
        type="text"
        autocomplete="off"
        spellcheck={false}
        placeholder={t(`${OPTION_WORDS[name]}Hint`)}
        value={fields[name] ?? ''}
        onInput={({ currentTarget }) => onChange({ fields: { ...fields, [name]: currentTarget.value } })}
      />
    </div>
  );
  return (
    <details class="options" open={isOpen} onToggle={({ currentTarget }) => setOpen(currentTarget.open)}>
      <summary>{t('options')}</summary>
      <div class="option-grid">
        {optionFields(isFleet).map(field)}
        <div class="field wide">
          <label for="option-env">{t('oEnv')}</label>
          <textarea
            id="option-env"
            class="input mono"
            rows={2}
            spellcheck={false}
            placeholder={t('oEnvHint')}
            value={env}
            onInput={({ currentTarget }) => onChange({ env: currentTarget.value })}
          />
        </div>
      </div>
    </details>
  );
}

/** Many hosts are a decision: their number is typed. */
function Confirm({ count, onClose, onSure }: { count: number; onClose: () => void; onSure: () => void }) {
  const [typed, setTyped] = useState('');
  const isSure = typed.trim() === String(count);
  return (
    <Dialog
      title={t('confirmTitle', { n: countText(count) })}
      onClose={onClose}
      foot={
        <>
          <button type="button" class="btn" onClick={onClose}>
            {t('cancel')}
          </button>
          <button type="submit" form="confirm-run" class="btn primary" disabled={!isSure}>
            {t('startRunOn', { n: countText(count) })}
          </button>
        </>
      }
    >
      <form
        id="confirm-run"
        class="field"
        onSubmit={(event) => {
          event.preventDefault();
          if (isSure) onSure();
        }}
      >
        <label for="confirm-count">{t('confirmType', { n: count })}</label>
        <input
          id="confirm-count"
          class="input"
          inputMode="numeric"
          autocomplete="off"
          value={typed}
          onInput={({ currentTarget }) => setTyped(currentTarget.value)}
        />
      </form>
    </Dialog>
  );
}

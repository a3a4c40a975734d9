/** A question to a host's policy: would this caller be let in with this, and which rule says so? */
import { Fragment } from 'preact';
import { useState } from 'preact/hooks';
import { announce } from '../../frame/announce.js';
import { feed, type FeedError } from '../../frame/feed.js';
import { t } from '../../frame/words.js';
import { Foreign } from '../../parts/foreign.js';
import { State } from '../../parts/state.js';
import type { Value } from '../../../dist/console/messages.js';

/** The verbs of a policy, and what each one takes. */
const VERBS = {
  exec: 'words',
  sh: 'script',
  pty: 'words',
  put: 'paths',
  get: 'paths',
  signal: 'nothing',
  attach: 'nothing',
  observe: 'nothing',
  list: 'nothing',
  forget: 'nothing',
  agent: 'nothing',
  forward: 'nothing',
} as const;
type Verb = keyof typeof VERBS;
const TAKES = { words: 'testWords', script: 'script', paths: 'testPaths', nothing: 'testNothing' } as const;

export function RuleTest({ host }: { host: string }) {
  const [user, setUser] = useState('');
  const [verb, setVerb] = useState<Verb>('exec');
  const [text, setText] = useState('');
  const [as, setAs] = useState('');
  const [verdict, setVerdict] = useState<Value<'policyTest'>>();
  const [error, setError] = useState<FeedError>();
  const [busy, setBusy] = useState(false);
  const takes = VERBS[verb];
  const lines = text.split('\n').filter((line) => line !== '');
  const ask = (event: Event) => {
    event.preventDefault();
    setBusy(true);
    feed
      .ask('policyTest', {
        host,
        user: user.trim(),
        verb,
        ...(takes === 'script' ? { script: text } : takes === 'nothing' || !lines.length ? {} : { argv: lines }),
        ...(as.trim() === '' ? {} : { runAs: as.trim() }),
      })
      .then((found) => {
        setVerdict(found);
        setError(undefined);
        announce(found.decision === 'allow' ? t('testAllowed') : t('testDenied'));
      })
      .catch((failure: FeedError) => {
        setVerdict(undefined);
        setError(failure);
      })
      .finally(() => setBusy(false));
  };
  return (
    <form class="rule-test" onSubmit={ask}>
      <div class="field">
        <label for="test-user">{t('testWho')}</label>
        <input
          id="test-user"
          class="input"
          placeholder="alice, role:NAME"
          value={user}
          autocomplete="off"
          spellcheck={false}
          onInput={({ currentTarget }) => setUser(currentTarget.value)}
        />
      </div>
      <div class="field">
        <label for="test-verb">{t('testVerb')}</label>
        <select
          id="test-verb"
          class="select"
          value={verb}
          onChange={({ currentTarget }) => setVerb(currentTarget.value as Verb)}
        >
          {Object.keys(VERBS).map((each) => (
            <option key={each} value={each}>
              {each}
            </option>
          ))}
        </select>
      </div>
      <div class="field">
        <label for="test-as">{t('oRunAs')}</label>
        <input
          id="test-as"
          class="input"
          placeholder={t('oRunAsHint')}
          value={as}
          autocomplete="off"
          spellcheck={false}
          onInput={({ currentTarget }) => setAs(currentTarget.value)}
        />
      </div>
      {takes !== 'nothing' && (
        <div class="field wide">
          <label for="test-text">{t(TAKES[takes])}</label>
          <textarea
            id="test-text"
            class="input mono"
            rows={Math.min(10, Math.max(3, text.split('\n').length))}
            placeholder={takes === 'words' ? 'systemctl\nrestart\nnginx' : undefined}
            value={text}
            spellcheck={false}
            aria-describedby="test-hint"
            onInput={({ currentTarget }) => setText(currentTarget.value)}
          />
          <p id="test-hint" class="hint">
            {takes === 'script' ? t('testScriptHint') : t('testWordsHint')}
          </p>
        </div>
      )}
      <div class="wide">
        <button type="submit" class="btn primary" disabled={busy || user.trim() === ''}>
          {t('testAsk')}
        </button>
      </div>
      <div class="wide" aria-live="polite">
        {error && (
          <p class="note bad">
            <Foreign text={error.message} most={2000} />
          </p>
        )}
        {verdict && <Verdict verdict={verdict} />}
      </div>
    </form>
  );
}

function Verdict({
  verdict: { decision, sentence, rule, line, program, runAs, nearest },
}: {
  verdict: Value<'policyTest'>;
}) {
  const isAllowed = decision === 'allow';
  return (
    <div class={`verdict ${decision}`}>
      <State shape={isAllowed ? 'done' : 'stopped'} tone={isAllowed ? 'good' : 'bad'}>
        <b>{isAllowed ? t('testAllowed') : t('testDenied')}</b>
      </State>
      <p>
        <Foreign text={sentence} most={2000} />
      </p>
      <dl class="verdict-facts">
        {rule !== undefined && (
          <>
            <dt>{t('testRule')}</dt>
            <dd>
              <Foreign text={rule} />
              {line !== undefined && line > 0 && `, ${t('policyLine', { line })}`}
            </dd>
          </>
        )}
        {program !== undefined && (
          <>
            <dt>{t('program')}</dt>
            <dd class="mono">
              <Foreign text={program} />
            </dd>
          </>
        )}
        {runAs !== undefined && (
          <>
            <dt>{t('oRunAs')}</dt>
            <dd>
              <Foreign text={runAs} />
            </dd>
          </>
        )}
        {nearest.map((near) => (
          <Fragment key={near.rule}>
            <dt>{t('testNear')}</dt>
            <dd>
              <b>
                <Foreign text={near.rule} />
              </b>
              , {t('policyLine', { line: near.line })}: <Foreign text={near.why} most={1000} />
            </dd>
          </Fragment>
        ))}
      </dl>
    </div>
  );
}

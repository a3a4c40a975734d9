/** Whether a host's log is still what it was, in words. */
import { useState } from 'preact/hooks';
import { announce } from '../../frame/announce.js';
import { feed, type FeedError } from '../../frame/feed.js';
import { t, type WordName } from '../../frame/words.js';
import { Foreign } from '../../parts/foreign.js';
import { countText } from '../../parts/format.js';
import { State } from '../../parts/state.js';
import type { Value } from '../../../dist/console/messages.js';

type Verdict = Value<'auditVerify'>;

const PROBLEMS: Readonly<Record<string, WordName>> = {
  flip: 'problem_flip',
  deletion: 'problem_deletion',
  insertion: 'problem_insertion',
  reorder: 'problem_reorder',
  truncation: 'problem_truncation',
  fork: 'problem_fork',
  'missing-segment': 'problem_missing',
  hash: 'problem_hash',
  signature: 'problem_signature',
};
/** Problems that are named. */
const FEW = 20;

export function Verification({ host }: { host: string }) {
  const [verdict, setVerdict] = useState<Verdict>();
  const [error, setError] = useState<FeedError>();
  const [busy, setBusy] = useState(false);
  const verify = () => {
    setBusy(true);
    setVerdict(undefined);
    feed
      .ask('auditVerify', { host })
      .then((found) => {
        setVerdict(found);
        setError(undefined);
        announce(found.ok ? t('verifyOk', { n: countText(found.size) }) : t('verifyNotOk'));
      })
      .catch((failure: FeedError) => setError(failure))
      .finally(() => setBusy(false));
  };
  return (
    <div class="verification">
      <button type="button" class="btn" disabled={busy} onClick={verify}>
        {busy ? t('verifying') : t('verify')}
      </button>
      {!verdict && !error && <span class="hint">{t('verifyWhat')}</span>}
      {error && (
        <p class="problem" role="alert">
          <Foreign text={error.message} most={2000} />
        </p>
      )}
      {verdict && <Said verdict={verdict} />}
    </div>
  );
}

function Said({ verdict: { ok, size, checked, against, problems, isolation, root } }: { verdict: Verdict }) {
  return (
    <div class="verified">
      <State shape={ok ? 'done' : 'failed'} tone={ok ? 'good' : 'bad'}>
        <b>{ok ? t('verifyOk', { n: countText(size) }) : t('verifyNotOk')}</b>
      </State>
      <ul>
        {problems.slice(0, FEW).map(({ index, kind }) => (
          <li key={`${index} ${kind}`} class="problem">
            {t('verifyAt', { n: countText(index) })} {kind in PROBLEMS ? t(PROBLEMS[kind]!) : <Foreign text={kind} />}
          </li>
        ))}
        {problems.length > FEW && <li>{t('andMore', { n: countText(problems.length - FEW) })}</li>}
        {against.length === 0 && <li>{t('verifyNoHead')}</li>}
        {against.map(({ pin, size: at, consistent }) => (
          <li key={`${pin} ${at}`} class={consistent ? '' : 'problem'}>
            {t(consistent ? 'verifyBegins' : 'verifyBeginsNot', { n: countText(at) })}{' '}
            <span class="mono small">
              <Foreign text={pin} most={60} />
            </span>
          </li>
        ))}
        {checked < size && <li>{t('verifyDropped', { n: countText(size - checked) })}</li>}
        {isolation === 'none' && <li>{t('verifyIsolation')}</li>}
        <li class="quiet">
          {t('verifyRoot')} <span class="mono small">{root}</span>
        </li>
      </ul>
    </div>
  );
}

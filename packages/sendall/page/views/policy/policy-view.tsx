/** What a host lets others do, and what it has let them do: rules with a form to test them, and its log. */
import { useState } from 'preact/hooks';
import { goTo, keep, type Place } from '../../frame/place.js';
import { t } from '../../frame/words.js';
import { Foreign } from '../../parts/foreign.js';
import { LogOf } from './log.js';
import { Rules } from './rules.js';
import { RuleTest } from './rule-test.js';

/** The host that is shown first. */
const HERE = 'local';
const PANES = ['rules', 'test', 'log'] as const;
const PANE_WORDS = { rules: 'policyRules', test: 'policyTest', log: 'policyLogPane' } as const;

export function PolicyView({ place }: { place: Place }) {
  const [host = HERE] = place.items;
  const [times, setTimes] = useState(0);
  const pane = PANES.find((each) => each === place.values.show) ?? 'rules';
  return (
    <section class="view policy-view">
      <div class="head">
        <h1>
          {t('policyLog')} <span class="quiet">·</span> <Foreign text={host} />
        </h1>
        <div class="end">
          <HostChoice key={host} host={host} onAgain={() => setTimes(times + 1)} />
        </div>
      </div>
      <div class="seg panes" role="group" aria-label={t('policyLog')}>
        {PANES.map((each) => (
          <button key={each} type="button" aria-pressed={pane === each} onClick={() => keep({ show: each })}>
            {t(PANE_WORDS[each])}
          </button>
        ))}
      </div>
      <div class="policy-panes" data-pane={pane}>
        <section class="pane pane-rules" aria-label={t('policyRules')}>
          <h2>{t('policyRules')}</h2>
          <Rules key={`${times} ${host}`} host={host} />
        </section>
        <section class="pane pane-test" aria-label={t('policyTest')}>
          <h2>{t('policyTest')}</h2>
          <RuleTest key={host} host={host} />
        </section>
        <section class="pane pane-log" aria-label={t('policyLogPane')}>
          <LogOf key={host} host={host} />
        </section>
      </div>
    </section>
  );
}

/** Another host, or this one as it is now. */
function HostChoice({ host, onAgain }: { host: string; onAgain: () => void }) {
  const [text, setText] = useState(host);
  return (
    <form
      class="host-choice"
      onSubmit={(event) => {
        event.preventDefault();
        const wanted = text.trim();
        if (wanted === host) onAgain();
        else if (wanted !== '') goTo('policy', [wanted]);
      }}
    >
      <input
        class="input"
        aria-label={t('host')}
        value={text}
        autocomplete="off"
        spellcheck={false}
        onInput={({ currentTarget }) => setText(currentTarget.value)}
      />
      <button type="submit" class="btn">
        {t('policyGo')}
      </button>
    </form>
  );
}

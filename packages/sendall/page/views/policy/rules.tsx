/** The rules of a host: this machine's as they stand in their file, with what is wrong with them; others' by their agent. */
import { useEffect, useState } from 'preact/hooks';
import { feed, type FeedError } from '../../frame/feed.js';
import { useStore } from '../../frame/store.js';
import { t } from '../../frame/words.js';
import { Foreign } from '../../parts/foreign.js';
import { countText } from '../../parts/format.js';
import { plain } from '../../parts/printable.js';
import type { Value } from '../../../dist/console/messages.js';

type Policy = Value<'policy'>;

/** Rules that are drawn. */
const MOST_RULES = 1000;

export function Rules({ host }: { host: string }) {
  const link = useStore(feed.link);
  const [policy, setPolicy] = useState<Policy>();
  const [error, setError] = useState<FeedError>();
  useEffect(() => {
    if (link.state === 'open')
      feed.ask('policy', { host }).then(
        (found) => {
          setPolicy(found);
          setError(undefined);
        },
        (failure: FeedError) => setError(failure),
      );
  }, [link.state]);
  if (error)
    return (
      <p class="note bad" role="alert">
        <Foreign text={error.message} most={2000} />
      </p>
    );
  if (!policy) return <p class="quiet">{t('loading')}</p>;
  const { file, sha256, rules, problems, findings } = policy;
  return (
    <>
      {problems.map(({ line, what }) => (
        <p key={`${line} ${what}`} class="note bad">
          <span>
            {line > 0 && <b>{t('policyLine', { line })}</b>} <Foreign text={what} most={1000} />
          </span>
        </p>
      ))}
      {sha256 === undefined && problems.length === 0 ? (
        <p class="note">
          <span>
            {t('policyNone')}{' '}
            <span class="mono">
              <Foreign text={file} />
            </span>
          </span>
        </p>
      ) : (
        <p class="small quiet rules-file">
          <span class="mono">
            <Foreign text={file} />
          </span>{' '}
          · {rules.length === 1 ? t('policyCountOne') : t('policyCount', { n: countText(rules.length) })}
          {sha256 !== undefined && (
            <>
              {' · '}
              <span class="mono" title={plain(sha256)}>
                sha256 {plain(sha256.slice(0, 12))}…
              </span>
            </>
          )}
        </p>
      )}
      {findings.map(({ rule, line, what }) => (
        <p key={`${rule} ${line} ${what}`} class="note warn">
          <span>
            <b>
              <Foreign text={rule} />, {t('policyLine', { line })}
            </b>{' '}
            <Foreign text={what} most={1000} />
          </span>
        </p>
      ))}
      {rules.length > 0 && (
        <ol class="rules">
          {rules.slice(0, MOST_RULES).map((rule) => (
            <RuleOf key={`${rule.id} ${rule.line}`} rule={rule} />
          ))}
          {rules.length > MOST_RULES && <li>{t('andMore', { n: countText(rules.length - MOST_RULES) })}</li>}
        </ol>
      )}
    </>
  );
}

function RuleOf({ rule: { id, line, who, verbs, runAs, command, trustsProgram } }: { rule: Policy['rules'][number] }) {
  return (
    <li class="rule">
      <div class="rule-head">
        <b>
          <Foreign text={id} />
        </b>
        <span class="quiet small">{t('policyLine', { line })}</span>
      </div>
      <p>
        {who.map((each) => (
          <span key={each} class="tag">
            <Foreign text={each} />
          </span>
        ))}{' '}
        {t('policyMay')}{' '}
        <b>
          <Foreign text={verbs.join(', ')} />
        </b>
        {runAs !== undefined && (
          <>
            {' '}
            {t('policyAs')}{' '}
            <b>
              <Foreign text={runAs} />
            </b>
          </>
        )}
      </p>
      {command !== undefined && (
        <p class="mono rule-command">
          <Foreign text={command} most={4000} />
        </p>
      )}
      {trustsProgram && <p class="small quiet">{t('policyTrusts')}</p>}
    </li>
  );
}

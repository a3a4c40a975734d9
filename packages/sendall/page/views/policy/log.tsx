/** A host's log as it grows, the newest record first, and whether it is still what it was. */
import { useEffect, useMemo, useState } from 'preact/hooks';
import { announce } from '../../frame/announce.js';
import { feed, type FeedError } from '../../frame/feed.js';
import { addressOf } from '../../frame/place.js';
import { t, type WordName } from '../../frame/words.js';
import { Foreign } from '../../parts/foreign.js';
import { countText, whenText } from '../../parts/format.js';
import { plain, wordsLine } from '../../parts/printable.js';
import { State, type Shape, type Tone } from '../../parts/state.js';
import { LogTail, type LogRecord, type RecordRow } from './records.js';
import { Verification } from './verification.js';

/** Records at first, and at most. */
const [FIRST, MOST] = [100, 500];

const KINDS: Readonly<Record<string, { readonly shape: Shape; readonly tone: Tone; readonly word: WordName }>> = {
  boot: { shape: 'up', tone: 'idle', word: 'log_boot' },
  allow: { shape: 'done', tone: 'good', word: 'log_allow' },
  refuse: { shape: 'stopped', tone: 'bad', word: 'log_refuse' },
  start: { shape: 'up', tone: 'good', word: 'log_start' },
  exit: { shape: 'stopped', tone: 'idle', word: 'log_exit' },
  tree: { shape: 'stopped', tone: 'idle', word: 'log_tree' },
  attach: { shape: 'up', tone: 'idle', word: 'log_attach' },
  detach: { shape: 'waiting', tone: 'idle', word: 'log_detach' },
  signal: { shape: 'warning', tone: 'warn', word: 'log_signal' },
  cancel: { shape: 'warning', tone: 'warn', word: 'log_cancel' },
  note: { shape: 'waiting', tone: 'idle', word: 'log_note' },
  put: { shape: 'done', tone: 'idle', word: 'log_put' },
  get: { shape: 'done', tone: 'idle', word: 'log_get' },
};

export function LogOf({ host }: { host: string }) {
  const tail = useMemo(() => new LogTail(MOST), []);
  const [rows, setRows] = useState<readonly RecordRow[]>();
  const [error, setError] = useState<FeedError>();
  const [filter, setFilter] = useState('');
  useEffect(() => {
    const subscription = feed.subscribe('audit', () => ({ host, last: FIRST }), {
      onOpened: () => {
        setError(undefined);
        setRows(tail.rows);
      },
      onEvent: ({ records }) => {
        tail.take(records as readonly LogRecord[]);
        setRows(tail.rows);
      },
      onClosed: (failure) => {
        if (!failure) return;
        setError(failure);
        announce(failure.message);
      },
    });
    return () => subscription.end();
  }, []);
  const wanted = filter.trim().toLowerCase();
  const shown = (rows ?? []).filter((row) => wanted === '' || textOf(row).includes(wanted)).toReversed();
  return (
    <>
      <div class="pane-head">
        <h2>{t('policyLogPane')}</h2>
        <input
          class="input"
          type="search"
          aria-label={t('logFilter')}
          placeholder={t('logFilter')}
          value={filter}
          onInput={({ currentTarget }) => setFilter(currentTarget.value)}
        />
      </div>
      <Verification host={host} />
      {error && (
        <p class="note bad" role="alert">
          <Foreign text={error.message} most={2000} />
        </p>
      )}
      {!rows && !error && <p class="quiet">{t('loading')}</p>}
      {rows && shown.length === 0 && <p class="quiet">{rows.length === 0 ? t('logEmpty') : t('logNoMatch')}</p>}
      <ol class="log" aria-label={t('policyLogPane')}>
        {shown.map((row) => (
          <Row key={row.n} row={row} host={host} />
        ))}
      </ol>
      {rows && rows.length >= MOST && <p class="quiet small">{t('logMore', { n: countText(MOST) })}</p>}
    </>
  );
}

const textOf = ({ kind, principal = '', run = '', words, rest }: RecordRow): string =>
  [kind, principal, run, ...words, ...rest.map(({ name, value }) => `${name}=${value}`)].join(' ').toLowerCase();

/** Digests and paths say enough with their beginning or end. */
const shortened = (value: string): string => {
  if (/^[0-9a-f]{32,}$/.test(value)) return `${value.slice(0, 12)}…`;
  if (/^SHA256:\S{20,}$/.test(value)) return `${value.slice(0, 19)}…`;
  return value.length > 48 && value.startsWith('/') ? `…${value.slice(-36)}` : value;
};

function Row({ row: { n, at, kind, run, principal, words, rest }, host }: { row: RecordRow; host: string }) {
  const { shape, tone, word } = KINDS[kind] ?? KINDS.note!;
  const time = Date.parse(at);
  return (
    <li class="record">
      <span class="record-n num">{n}</span>
      <time dateTime={at} title={at}>
        {Number.isNaN(time) ? <Foreign text={at} /> : whenText(time)}
      </time>
      <State shape={shape} tone={tone}>
        {kind in KINDS ? t(word) : <Foreign text={kind} />}
      </State>
      <div class="record-what">
        {principal !== undefined && (
          <span class="tag">
            <Foreign text={principal} />
          </span>
        )}
        {words.length > 0 && (
          <span class="mono">
            <Foreign text={kind === 'note' ? words.join(' ') : wordsLine(words)} most={500} />
          </span>
        )}
        {run !== undefined && (
          <a class="mono" href={addressOf('runs', [host, run])}>
            <Foreign text={run.slice(0, 13)} />
          </a>
        )}
        {rest.map(({ name, value }) => (
          <span key={name} class="record-rest" title={plain(value)}>
            {name}&nbsp;
            <Foreign text={shortened(value)} most={120} />
          </span>
        ))}
      </div>
    </li>
  );
}

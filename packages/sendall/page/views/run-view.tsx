/** One run on one host: how it stands, and its output at any place. */
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { Value } from '../../dist/console/messages.js';
import { announce } from '../frame/announce.js';
import { feed, type FeedError } from '../frame/feed.js';
import { useKey } from '../frame/keys.js';
import { addressOf, keep, type Place } from '../frame/place.js';
import { useStore } from '../frame/store.js';
import { t } from '../frame/words.js';
import { Foreign } from '../parts/foreign.js';
import { plain, wordsLine } from '../parts/printable.js';
import { bytesText, countText, durationText, whenText } from '../parts/format.js';
import { Icon } from '../parts/icon.js';
import { useNow } from '../parts/now.js';
import { StandingView, standingOf, standingOfListing, type Standing as Shown } from '../parts/run-state.js';
import { State } from '../parts/state.js';
import { Actions } from './run/actions.js';
import { ENCODINGS, newlineOf, type Encoding } from './run/decoding.js';
import { OutputBuffer, STREAMS, type Stream, type View } from './run/output-buffer.js';
import { OutputPane } from './run/output-pane.js';
import { OutputSession, type Standing } from './run/output-session.js';
import { readWanted, type Wanted } from './run/place-in-output.js';
import { findRows } from './run/search.js';

type Hits = Value<'search'>['hits'];

/** Matches that one search on the host brings. */
const MOST_HITS = 200;

export function RunView({ place }: { place: Place }) {
  const [host = '', runId = ''] = place.items;
  const encoding = ENCODINGS.find((each) => each === place.values.encoding) ?? 'utf-8';
  const only = STREAMS.find((each) => each === place.values.stream);
  const withCodes = place.values.codes !== 'off';
  const streams = useMemo(() => (only ? [only] : STREAMS), [only]);
  const view: View = useMemo(() => ({ newline: newlineOf(encoding), streams }), [encoding, streams]);

  const scroller = useRef<HTMLDivElement>(null);
  const [session] = useState(() => new OutputSession(host, runId, new OutputBuffer(view)));
  const [pane, setPane] = useState<OutputPane>();
  const standing = useStore(session.standing);
  const search = useSearch(session, pane, encoding, only);

  useLayoutEffect(() => {
    const made = new OutputPane(scroller.current!, session, { encoding, withCodes, search: '', current: undefined });
    setPane(made);
    const at = readWanted(place.values.at ?? '');
    session.start(at && 'byte' in at ? { stdout: at.byte, stderr: 0 } : undefined);
    return () => {
      session.stop();
      made.end();
    };
  }, []);
  useEffect(() => {
    session.buffer.show(view);
    pane?.redraw();
  }, [view]);
  useEffect(() => {
    if (pane) pane.look = { encoding, withCodes, search: search.text.toLowerCase(), current: search.row };
  }, [pane, encoding, withCodes, search.text, search.row]);
  useKey('f', 'follow', () => session.follow(!session.standing.value.isFollowing));
  const shown = shownOf(standing);
  useEffect(() => {
    if (standing.result) announce(t('endedWith', { what: shown.text }));
  }, [standing.result]);

  return (
    <div class="view run-view">
      <Head host={host} runId={runId} standing={standing} shown={shown} session={session} />
      <div class="toolbar">
        <SearchField search={search} />
        <div class="seg" role="group" aria-label={t('streams')}>
          {([undefined, ...STREAMS] as const).map((each) => (
            <button
              key={each ?? 'both'}
              type="button"
              aria-pressed={only === each}
              onClick={() => keep({ stream: each })}
            >
              {each ?? t('both')}
            </button>
          ))}
        </div>
        <select
          class="select"
          aria-label={t('encoding')}
          value={encoding}
          onChange={({ currentTarget }) =>
            keep({ encoding: currentTarget.value === 'utf-8' ? undefined : currentTarget.value })
          }
        >
          {ENCODINGS.map((each) => (
            <option key={each}>{each}</option>
          ))}
        </select>
        <button
          type="button"
          class="btn"
          aria-pressed={withCodes}
          title={t('codes')}
          onClick={() => keep({ codes: withCodes ? 'off' : undefined })}
        >
          {t('codesShown')}
        </button>
      </div>
      <Notices standing={standing} host={host} />
      <div
        ref={scroller}
        class={`out ${standing.opened?.terminal ? 'terminal' : ''}`}
        role="region"
        aria-label={t('outputLabel')}
        tabIndex={0}
      >
        <Silent session={session} standing={standing} />
      </div>
      <Scrub session={session} pane={pane} standing={standing} stream={only} />
    </div>
  );
}

/** How the run stands, from all that is known of it. */
function shownOf({ result, listing, opened, problem }: Standing): Shown {
  if (result) return standingOf(result.outcome, result);
  if (listing) return standingOfListing(listing);
  if (problem !== undefined) return { shape: 'warning', tone: 'warn', text: t('s_unknown'), isLive: false };
  return standingOf(opened ? 'running' : 'connecting');
}

interface HeadProps {
  readonly host: string;
  readonly runId: string;
  readonly standing: Standing;
  readonly shown: Shown;
  readonly session: OutputSession;
}

function Head({ host, runId, standing, shown, session }: HeadProps) {
  const now = useNow();
  const { listing, result, opened } = standing;
  const began = result?.startMs ?? listing?.startMs ?? opened?.startMs;
  const end = result?.endMs ?? listing?.endMs;
  const { stdout, stderr } = session.hostEnd;
  const attached = listing?.attached ?? 0;
  return (
    <div class="head run-head">
      <h1 class="mono cut" title={runId}>
        {listing ? (
          <Foreign text={wordsLine(listing.argv)} />
        ) : (
          t('runOf', { run: runId.slice(0, 8), host: plain(host) })
        )}
      </h1>
      <div class="end">
        {opened?.terminal && (
          <a class="btn" href={addressOf('terminal', [host, runId])}>
            <Icon name="terminal" /> {t('terminalHere')}
          </a>
        )}
        <Actions host={host} runId={runId} listing={listing} isLive={session.isLive} />
      </div>
      <ul class="run-facts">
        <li>
          <StandingView standing={shown} />
        </li>
        <li>
          <a class="mono" href={addressOf('runs', [], { on: host })}>
            <Foreign text={host} />
          </a>
        </li>
        {began !== undefined && (
          <>
            <li>{whenText(began)}</li>
            <li>{durationText((end ?? (shown.isLive ? now : began)) - began)}</li>
          </>
        )}
        <li>
          stdout {bytesText(stdout)}
          {stderr > 0 && ` · stderr ${bytesText(stderr)}`}
        </li>
        {listing?.pid !== undefined && shown.isLive && (
          <li>
            {t('pid')} {listing.pid}
          </li>
        )}
        {attached > 0 && (
          <li>
            {listing!.controlled
              ? attached > 1
                ? t('attachedBoth', { n: attached - 1 })
                : t('attachedControl')
              : t('attachedWatch', { n: attached })}
          </li>
        )}
        <li class="quiet mono">{runId}</li>
      </ul>
      {result && result.outcome !== 'ok' && (
        <p class="run-reason">
          <Foreign text={result.reason} />
        </p>
      )}
    </div>
  );
}

/** What must be seen about the link and the source of the output. */
function Notices({ standing, host }: { standing: Standing; host: string }) {
  const { isLost, opened, problem, result } = standing;
  if (problem !== undefined)
    return (
      <p class="banner bad" role="alert">
        {plain(problem)}
      </p>
    );
  if (isLost && !result)
    return (
      <div class="banner" role="status">
        <State shape="lost" tone="warn">
          {t('linkLostRun', { host: plain(host) })}
        </State>
      </div>
    );
  if (opened?.source === 'history') return <p class="banner">{t('fromHistory')}</p>;
  return null;
}

function Silent({ session, standing }: { session: OutputSession; standing: Standing }) {
  const { stdout, stderr } = session.hostEnd;
  if (stdout + stderr > 0 || !standing.opened) return null;
  return <p class="out-empty">{t(standing.result ? 'noOutputAtAll' : 'noOutput')}</p>;
}

interface Search {
  readonly text: string;
  readonly rows: readonly number[] | undefined;
  readonly at: number;
  readonly row: number | undefined;
  /** What the host found, where this page has not all of the output. */
  readonly hits: Hits | undefined;
  readonly canAskHost: boolean;
  type(text: string): void;
  step(by: number): void;
  readonly askHost: () => void;
  show(offset: number): void;
}

/** The search in what is here, and on the host. */
function useSearch(
  session: OutputSession,
  pane: OutputPane | undefined,
  encoding: Encoding,
  only: Stream | undefined,
): Search {
  const [text, setText] = useState('');
  const [found, setFound] = useState<{ rows: readonly number[]; at: number }>();
  const [hits, setHits] = useState<Hits>();
  const stream = only ?? 'stdout';
  useEffect(() => {
    setHits(undefined);
    if (text === '') return setFound(undefined);
    const control = new AbortController();
    const timer = setTimeout(() => {
      void findRows(session.buffer, encoding, text.toLowerCase(), control.signal).then((rows) => {
        if (!rows) return;
        setFound({ rows, at: rows.length - 1 });
        announce(rows.length === 0 ? t('searchNone') : t('searchCount', { at: rows.length, n: rows.length }));
        const last = rows.at(-1);
        if (last === undefined) return;
        session.follow(false);
        pane?.show(last);
      });
    }, 120);
    return () => {
      clearTimeout(timer);
      control.abort();
    };
  }, [text, encoding, only]);

  return {
    text,
    rows: found?.rows,
    at: found?.at ?? 0,
    row: found?.rows[found.at],
    hits,
    canAskHost: text !== '' && session.hasEarlier,
    type: setText,
    step(by) {
      if (!found || found.rows.length === 0) return;
      const at = (found.at + by + found.rows.length) % found.rows.length;
      setFound({ ...found, at });
      session.follow(false);
      pane?.show(found.rows[at]!);
    },
    askHost() {
      const { host, runId } = session;
      feed.ask('search', { host, runId, stream, text, limit: MOST_HITS }).then(
        ({ hits }) => setHits(hits),
        ({ message }: FeedError) => (feed.trouble.value = message),
      );
    },
    show(offset) {
      goToByte(session, pane, stream, offset);
    },
  };
}

/** Shows a byte of a stream: here, or from the host. */
function goToByte(session: OutputSession, pane: OutputPane | undefined, stream: Stream, byte: number): void {
  const { begin, end } = session.buffer;
  session.follow(false);
  if (byte >= begin[stream] && byte < end[stream]) {
    pane?.show(session.buffer.rowOf(stream, byte), 'first');
    return;
  }
  // The other stream goes on in the same proportion: where its bytes stood then is not known.
  const all = session.hostEnd;
  const share = all[stream] === 0 ? 0 : byte / all[stream];
  const other = stream === 'stdout' ? 'stderr' : 'stdout';
  session.jump({ [stream]: byte, [other]: Math.floor(all[other] * share) } as Record<Stream, number>);
  pane?.show(0, 'first');
}

function SearchField({ search }: { search: Search }) {
  const { text, rows, at, hits } = search;
  return (
    <div class="search">
      <input
        class="input"
        type="search"
        data-filter
        aria-label={t('searchOutput')}
        placeholder={t('searchHint')}
        value={text}
        onInput={({ currentTarget }) => search.type(currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === 'Escape') search.type('');
          else if (event.key === 'Enter') search.step(event.shiftKey ? 1 : -1);
          else return;
          event.preventDefault();
        }}
      />
      {rows && (
        <>
          <span class="quiet small">
            {rows.length === 0 ? t('searchNone') : t('searchCount', { at: at + 1, n: countText(rows.length) })}
          </span>
          <button
            type="button"
            class="btn ghost icon"
            aria-label={t('searchPrevious')}
            disabled={rows.length === 0}
            onClick={() => search.step(-1)}
          >
            <Icon name="up" />
          </button>
          <button
            type="button"
            class="btn ghost icon"
            aria-label={t('searchNext')}
            disabled={rows.length === 0}
            onClick={() => search.step(1)}
          >
            <Icon name="down" />
          </button>
        </>
      )}
      {search.canAskHost && (
        <button type="button" class="btn" onClick={search.askHost}>
          {t('searchHost')}
        </button>
      )}
      {hits && (
        <ul class="hits">
          {hits.length === 0 && <li class="quiet">{t('searchHostNone')}</li>}
          {hits.map(({ offset, line }) => (
            <li key={offset}>
              <button type="button" onClick={() => search.show(offset)}>
                <span class="quiet">{countText(offset)}</span> <Foreign text={line} most={120} />
              </button>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

interface ScrubProps {
  readonly session: OutputSession;
  readonly pane: OutputPane | undefined;
  readonly standing: Standing;
  readonly stream: Stream | undefined;
}

const STEPS = 1000;

/** Where in the output the reader is: a slider, a field for a byte, a share or a time, and following. */
function Scrub({ session, pane, standing, stream: only }: ScrubProps) {
  const [, redraw] = useState(0);
  const [wanted, setWanted] = useState('');
  const first = useRef(0);
  const all = session.hostEnd;
  const stream = only ?? (all.stdout > 0 || all.stderr === 0 ? 'stdout' : 'stderr');

  useEffect(() => {
    if (!pane) return undefined;
    // The slider may lag a little behind the rows: it is drawn four times a second.
    let timer: ReturnType<typeof setTimeout> | undefined;
    pane.onSight = (row) => {
      first.current = row;
      timer ??= setTimeout(() => {
        timer = undefined;
        redraw((count) => count + 1);
      }, 250);
    };
    return () => {
      clearTimeout(timer);
      pane.onSight = () => {};
    };
  }, [pane]);

  const { isFollowing } = standing;
  const part =
    session.buffer.rows > 0 ? session.buffer.row(first.current).find((each) => each.stream === stream) : undefined;
  const at = isFollowing ? session.buffer.end[stream] : (part?.offset ?? session.buffer.begin[stream]);

  function goTo(to: Wanted) {
    if ('share' in to) goToByte(session, pane, stream, Math.floor(all[stream] * to.share));
    else if ('byte' in to) goToByte(session, pane, stream, Math.min(to.byte, all[stream]));
    else {
      session.follow(false);
      const row = session.buffer.rowAtTime(to.timeMs);
      if (row !== undefined) pane?.show(row, 'first');
    }
  }

  return (
    <div class="scrub">
      <input
        type="range"
        min={0}
        max={STEPS}
        value={all[stream] === 0 ? STEPS : Math.round((at / all[stream]) * STEPS)}
        aria-label={t('scrub')}
        aria-valuetext={t('scrubAt', { at: bytesText(at), all: bytesText(all[stream]) })}
        onChange={({ currentTarget }) => goTo({ share: Number(currentTarget.value) / STEPS })}
      />
      <span class="scrub-at">{t('scrubAt', { at: bytesText(at), all: bytesText(all[stream]) })}</span>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          const to = readWanted(wanted);
          if (to) goTo(to);
        }}
      >
        <input
          class="input"
          type="text"
          aria-label={t('goToPlace')}
          placeholder={t('goToHint')}
          aria-invalid={wanted !== '' && readWanted(wanted) === undefined}
          value={wanted}
          onInput={({ currentTarget }) => setWanted(currentTarget.value)}
        />
      </form>
      {session.hasEarlier && (
        <button type="button" class="btn" onClick={() => void session.earlier()}>
          {t('loadEarlier')}
        </button>
      )}
      <button
        type="button"
        class="btn"
        aria-pressed={isFollowing}
        onClick={() => {
          session.follow(!isFollowing);
          pane?.redraw();
        }}
      >
        <Icon name="follow" />
        {isFollowing || session.behind === 0
          ? t(isFollowing ? 'following' : 'follow')
          : `${t('follow')} · ${t('pausedAt', { n: bytesText(session.behind) })}`}
      </button>
    </div>
  );
}

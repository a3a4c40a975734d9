/** Runs: those that hosts know now, and those that were started from here. */
import { useEffect, useMemo, useState } from 'preact/hooks';
import type { Value } from '../../dist/console/messages.js';
import { feed, type FeedError } from '../frame/feed.js';
import { addressOf, keep, type Place } from '../frame/place.js';
import { useStore } from '../frame/store.js';
import { t } from '../frame/words.js';
import { Foreign } from '../parts/foreign.js';
import { plain, wordsLine } from '../parts/printable.js';
import { bytesText, countText, durationText, whenText } from '../parts/format.js';
import { groupsKnown, hosts, useHosts } from '../parts/host-states.js';
import { Icon } from '../parts/icon.js';
import { List, type Column } from '../parts/list.js';
import { useNow } from '../parts/now.js';
import {
  StandingView,
  standingOfListing,
  standingOfPast,
  type Listing,
  type PastRun,
  type Standing,
} from '../parts/run-state.js';
import { TargetField } from '../parts/target-field.js';
import { HostIndex } from '../parts/targets.js';

interface Row {
  readonly key: string;
  readonly href: string;
  readonly standing: Standing;
  /** What was run; undefined when its words are not kept. */
  readonly words: string | undefined;
  readonly name: string | undefined;
  readonly on: string;
  readonly total: number;
  readonly runId: string;
  readonly beganMs: number;
  readonly endMs: number | undefined;
  readonly bytes: number | undefined;
  readonly attached: { readonly count: number; readonly isControlled: boolean } | undefined;
  /** What the filter looks in, in lower case. */
  readonly text: string;
}

/** Hosts whose runs are watched without being named; a host program is not asked of ten thousand. */
const FEW_HOSTS = 32;
const PAGE = 200;
const nothing = new HostIndex([], []);

/** A run of one host has the same key in the history as in the host's list: its row stays where the reader is. */
const keyOf = (host: string, runId: string) => `${host} ${runId}`;

function listed(run: Listing, past: PastRun | undefined): Row {
  const words = wordsLine(run.argv);
  const name = run.name ?? past?.name;
  const standing = standingOfListing(run);
  return {
    key: keyOf(run.host, run.runId),
    href: addressOf('runs', [run.host, run.runId]),
    standing,
    words,
    name,
    on: run.host,
    total: 1,
    runId: run.runId,
    beganMs: run.startMs ?? run.openedMs,
    endMs: run.endMs,
    bytes: run.stdoutBytes + run.stderrBytes,
    attached: { count: run.attached, isControlled: run.controlled },
    text: `${words} ${name ?? ''} ${run.host} ${run.runId} ${standing.text}`.toLowerCase(),
  };
}

function remembered(past: PastRun): Row {
  const standing = standingOfPast(past);
  return {
    key: past.fleet ? past.runId : keyOf(past.hosts, past.runId),
    href: past.fleet ? addressOf('fleet', [past.runId]) : addressOf('runs', [past.hosts, past.runId]),
    standing,
    words: past.program,
    name: past.name,
    on: past.hosts,
    total: past.total,
    runId: past.runId,
    beganMs: past.beginMs,
    endMs: past.closedMs,
    bytes: undefined,
    attached: undefined,
    text: `${past.program ?? ''} ${past.name ?? ''} ${past.hosts} ${past.runId} ${standing.text}`.toLowerCase(),
  };
}

/** The newest first; a run that a host lists and the history has stands once. */
function rowsOf(live: ReadonlyMap<string, readonly Listing[]>, past: readonly PastRun[]): Row[] {
  const single = new Map(past.filter(({ fleet }) => !fleet).map((run) => [keyOf(run.hosts, run.runId), run]));
  const rows = [...live.values()].flat().map((run) => {
    const key = keyOf(run.host, run.runId);
    const before = single.get(key);
    single.delete(key);
    return listed(run, before);
  });
  for (const run of past) if (run.fleet || single.has(keyOf(run.hosts, run.runId))) rows.push(remembered(run));
  return rows.sort((a, b) => b.beganMs - a.beganMs);
}

/** The runs of hosts, as they change. */
function useLive(targets: string | undefined) {
  const [live, setLive] = useState<ReadonlyMap<string, readonly Listing[]>>(new Map());
  const [silent, setSilent] = useState<ReadonlyMap<string, string>>(new Map());
  const [problem, setProblem] = useState<string>();
  useEffect(() => {
    setLive(new Map());
    setSilent(new Map());
    setProblem(undefined);
    if (targets === undefined) return undefined;
    const subscription = feed.subscribe('runs', () => ({ targets, all: true }), {
      onEvent: (event) => {
        if (event.event === 'runs') {
          setLive((before) => new Map(before).set(event.host, event.runs));
          setSilent((before) => without(before, event.host));
        } else setSilent((before) => new Map(before).set(event.host, event.message));
      },
      onClosed: (error) => setProblem(error?.message),
    });
    return () => subscription.end();
  }, [targets]);
  return { live, silent, problem };
}

function without(map: ReadonlyMap<string, string>, key: string): ReadonlyMap<string, string> {
  if (!map.has(key)) return map;
  const next = new Map(map);
  next.delete(key);
  return next;
}

/** The history, as far as it was asked for. It is asked again when the feed comes back. */
function useHistory() {
  const [told, setTold] = useState<Value<'history'>>();
  const link = useStore(feed.link);
  const load = (before?: string) =>
    feed.ask('history', { limit: PAGE, ...(before === undefined ? {} : { before }) }).then(
      (answer) => {
        setTold((sofar) => {
          if (before === undefined) return answer;
          // Asked twice, or for the end of another list.
          return sofar?.next === before ? { ...answer, runs: [...sofar.runs, ...answer.runs] } : sofar;
        });
      },
      (error: FeedError) => {
        if (error.code !== 'LOST') feed.trouble.value = error.message;
      },
    );
  useEffect(() => {
    if (link.state === 'open') void load();
  }, [link.state]);
  return { past: told?.runs, next: told?.next, damaged: told?.damaged ?? 0, load };
}

export function Runs({ place }: { place: Place }) {
  useHosts();
  const index = useStore(hosts);
  const groups = useStore(groupsKnown);
  const { on = '', find = '', show = 'all' } = place.values;
  const named = useMemo(() => (index && on !== '' ? index.select(on) : undefined), [index, on, groups]);
  const isFew = index !== undefined && index.rows.length <= FEW_HOSTS;
  // What is being typed asks no host: the set is asked once it is still.
  const targets = useStill(on !== '' ? (named?.problem === undefined ? on : undefined) : isFew ? 'local,all' : 'local');
  const { live, silent, problem } = useLive(targets);
  const { past, next, damaged, load } = useHistory();
  const now = useNow();

  const all = useMemo(() => {
    const rows = rowsOf(live, past ?? []);
    return on === '' ? rows : rows.filter((row) => live.has(row.on) || named?.names?.has(row.on) || row.on === on);
  }, [live, past, on, named]);
  const rows = useMemo(() => {
    const wanted = find.toLowerCase().split(/\s+/).filter(Boolean);
    return all.filter(
      ({ standing, text }) => (show === 'all' || standing.isLive) && wanted.every((word) => text.includes(word)),
    );
  }, [all, find, show]);

  const columns: readonly Column<Row>[] = [
    { name: 'state', title: t('state'), cell: ({ standing }) => <StandingView standing={standing} /> },
    {
      name: 'command',
      title: t('command'),
      cell: ({ words, name, runId }) => (
        <span class="run-words" title={runId}>
          <span class="mono cut">
            {words === undefined ? <span class="quiet">{t('noWords')}</span> : <Foreign text={words} />}
          </span>
          {name !== undefined && (
            <span class="tag">
              <Foreign text={name} most={60} />
            </span>
          )}
        </span>
      ),
    },
    {
      name: 'host',
      title: t('host'),
      cell: ({ on, total }) => (
        <>
          {total > 1 && `${t('hostsCount', { n: countText(total) })} `}
          <span class={total > 1 ? 'mono quiet' : 'mono'}>
            <Foreign text={on} most={80} />
          </span>
        </>
      ),
    },
    { name: 'started', title: t('started'), cell: ({ beganMs }) => whenText(beganMs) },
    {
      name: 'duration',
      title: t('duration'),
      cell: ({ beganMs, endMs, standing }) =>
        endMs !== undefined ? durationText(endMs - beganMs) : standing.isLive ? durationText(now - beganMs) : '',
    },
    { name: 'bytes', title: t('output'), cell: ({ bytes }) => (bytes === undefined ? '' : bytesText(bytes)) },
    { name: 'attached', title: t('attached'), cell: ({ attached }) => attachedText(attached) },
  ];

  return (
    <div class="view">
      <div class="head">
        <h1>{t('runs')}</h1>
        <span class="quiet">
          {past &&
            (rows.length === all.length
              ? all.length === 1
                ? t('runsOne')
                : t('runsCount', { n: countText(all.length) })
              : t('runsShown', { shown: countText(rows.length), n: countText(all.length) }))}
        </span>
        <div class="end">
          {index?.has(on) && (
            <a class="btn" href={addressOf('terminal', [on])}>
              <Icon name="terminal" /> {t('terminalHere')}
            </a>
          )}
          <a class="btn primary" href={addressOf('run', [], { targets: on })}>
            {t('runTitle')}
          </a>
        </div>
      </div>
      <div class="toolbar">
        <input
          class="input grow"
          type="search"
          data-filter
          aria-label={t('filterRuns')}
          placeholder={t('filterRunsHint')}
          value={find}
          onInput={({ currentTarget }) => keep({ find: currentTarget.value })}
        />
        <TargetField
          label={t('runsOn')}
          placeholder={t('runsOnHint')}
          hosts={index ?? nothing}
          value={on}
          problem={named?.problem ?? problem}
          onInput={(text) => keep({ on: text })}
        />
        <div class="seg" role="group" aria-label={t('state')}>
          {(['all', 'unfinished'] as const).map((each) => (
            <button key={each} type="button" aria-pressed={show === each} onClick={() => keep({ show: each })}>
              {t(each === 'all' ? 'showAll' : 'showUnfinished')}
            </button>
          ))}
        </div>
      </div>
      {[...silent].slice(0, 3).map(([host, what]) => (
        <p key={host} class="banner">
          {t('runsSilent', { host, what: plain(what) })}
        </p>
      ))}
      {damaged > 0 && <p class="banner">{t('runsDamaged', { n: damaged })}</p>}
      <List
        kind="runs"
        label={t('runs')}
        rows={rows}
        keyOf={({ key }) => key}
        columns={columns}
        onOpen={({ href }) => (location.hash = href)}
        empty={past ? t(all.length > 0 ? 'runsNoMatch' : 'runsNone') : t('loading')}
      />
      {next !== undefined && (
        <button type="button" class="btn ghost" onClick={() => void load(next)}>
          {t('older')}
        </button>
      )}
    </div>
  );
}

function attachedText(attached: Row['attached']): string {
  if (!attached || attached.count === 0) return '';
  const watching = attached.count - (attached.isControlled ? 1 : 0);
  if (!attached.isControlled) return t('attachedWatch', { n: watching });
  return watching > 0 ? t('attachedBoth', { n: watching }) : t('attachedControl');
}

/** The value, once it has not changed for a moment. */
function useStill<T>(value: T): T {
  const [still, setStill] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setStill(value), 250);
    return () => clearTimeout(timer);
  }, [value]);
  return still;
}

/** All hosts: their state, round trip, version, pin and tags, under a filter in node-set words. */
import { useEffect, useMemo, useState } from 'preact/hooks';
import { announce } from '../frame/announce.js';
import { addressOf, keep, type Place } from '../frame/place.js';
import { useStore } from '../frame/store.js';
import { t, type WordName } from '../frame/words.js';
import { Foreign } from '../parts/foreign.js';
import { countText, roundTripText } from '../parts/format.js';
import {
  groupsKnown,
  hosts,
  hostsProblem,
  hostStates,
  useHosts,
  watchHosts,
  type HostState,
} from '../parts/host-states.js';
import { Icon, type IconName } from '../parts/icon.js';
import { List, type Column } from '../parts/list.js';
import { State, type Shape, type Tone } from '../parts/state.js';
import { TargetField } from '../parts/target-field.js';
import { HostIndex, type HostRow } from '../parts/targets.js';

const STATES = {
  up: ['up', 'good', 'h_up'],
  asking: ['waiting', 'idle', 'h_asking'],
  unreachable: ['lost', 'bad', 'h_unreachable'],
  refused: ['stopped', 'warn', 'h_refused'],
} as const satisfies Record<HostState['state'], readonly [Shape, Tone, string]>;

/** Most tags drawn in a row; the others are in its title. */
const MOST_TAGS = 3;
const nothing = new HostIndex([], []);

const isUnpaired = ({ url, pin }: HostRow) => url.startsWith('tls:') && pin === undefined;

/** The set that names these hosts, short where the filter says it already. */
const setOf = (names: Iterable<string>) => [...names].join(',');

export function Hosts({ place }: { place: Place }) {
  useHosts();
  const known = useStore(hosts);
  const states = useStore(hostStates);
  const problem = useStore(hostsProblem);
  const groups = useStore(groupsKnown);
  const filter = place.values.filter ?? '';
  const [marks, setMarks] = useState<ReadonlySet<string>>(new Set());
  const index = known ?? nothing;
  const selection = useMemo(() => index.select(filter), [index, filter, groups]);
  const rows = useMemo(
    () => (selection.names ? index.rows.filter(({ name }) => selection.names!.has(name)) : index.rows),
    [index, selection],
  );
  useEffect(() => {
    if (known && filter !== '') announce(t('nowShown', { n: countText(rows.length) }));
  }, [rows.length]);
  useEffect(() => () => watchHosts([]), []);

  function mark({ name }: HostRow) {
    const next = new Set(marks);
    if (!next.delete(name)) next.add(name);
    setMarks(next);
  }
  const runHref = (names: string) => addressOf('run', [], { targets: names });
  const count =
    rows.length === index.rows.length
      ? index.rows.length === 1
        ? t('hostsOne')
        : t('hostsCount', { n: countText(index.rows.length) })
      : t('hostsShown', { shown: countText(rows.length), n: countText(index.rows.length) });

  const columns: readonly Column<HostRow>[] = [
    {
      name: 'mark',
      title: <span class="sr">{t('mark')}</span>,
      cell: (row) => (
        <input
          type="checkbox"
          tabIndex={-1}
          checked={marks.has(row.name)}
          aria-label={t('markHost', { host: row.name })}
          onChange={() => mark(row)}
        />
      ),
    },
    { name: 'state', title: t('state'), cell: (row) => <StateOf row={row} state={states.get(row.name)} /> },
    {
      name: 'host',
      title: t('host'),
      cell: ({ name, url }) => (
        <span class="mono" title={url}>
          <Foreign text={name} />
        </span>
      ),
    },
    { name: 'rtt', title: t('roundTrip'), cell: ({ name }) => rttText(states.get(name)) },
    { name: 'version', title: t('version'), cell: ({ name }) => <Foreign text={states.get(name)?.version ?? ''} /> },
    {
      name: 'pin',
      title: t('pin'),
      cell: ({ pin }) =>
        pin && (
          <span class="mono quiet" title={pin}>
            {pin.replace(/^SHA256:/, '').slice(0, 10)}…
          </span>
        ),
    },
    { name: 'tags', title: t('tags'), cell: ({ tags }) => <Tags tags={tags} /> },
    {
      name: 'go',
      title: <span class="sr">{t('more')}</span>,
      cell: ({ name }) => (
        <>
          <Go word="runHere" icon="run" host={name} href={runHref(name)} />
          <Go word="runsHere" icon="runs" host={name} href={addressOf('runs', [], { on: name })} />
          <Go word="terminalHere" icon="terminal" host={name} href={addressOf('terminal', [name])} />
        </>
      ),
    },
  ];

  return (
    <div class="view">
      <div class="head">
        <h1>{t('hosts')}</h1>
        <span class="quiet">{known && count}</span>
        <div class="end">
          {marks.size > 0 && (
            <>
              <span class="quiet">{t('marked', { n: countText(marks.size) })}</span>
              <button type="button" class="btn ghost" onClick={() => setMarks(new Set())}>
                {t('clearMarks')}
              </button>
            </>
          )}
          <a class="btn primary" href={runHref(marks.size > 0 ? setOf(marks) : filter)}>
            <Icon name="run" /> {t(marks.size > 0 ? 'runOnMarked' : filter === '' ? 'runTitle' : 'runOnShown')}
          </a>
        </div>
      </div>
      <div class="toolbar">
        <TargetField
          isFilter
          label={t('filterHosts')}
          placeholder={t('filterHostsHint')}
          hosts={index}
          value={filter}
          problem={selection.problem}
          onInput={(text) => keep({ filter: text })}
        />
      </div>
      {problem !== undefined && (
        <p class="banner">
          <Foreign text={problem} />
        </p>
      )}
      <List
        kind="hosts"
        label={t('hosts')}
        rows={rows}
        keyOf={({ name }) => name}
        columns={columns}
        onOpen={({ name }) => (location.hash = addressOf('runs', [], { on: name }))}
        onMark={mark}
        isMarked={({ name }) => marks.has(name)}
        onSight={(seen) => watchHosts(seen.filter((row) => !isUnpaired(row)).map(({ name }) => name))}
        empty={known ? <Empty filter={filter} /> : t('loading')}
      />
    </div>
  );
}

/** A way from a host to what is done with it. */
function Go({ word, icon, host, href }: { word: WordName; icon: IconName; host: string; href: string }) {
  return (
    <a class="btn ghost icon" href={href} tabIndex={-1} title={t(word)} aria-label={`${t(word)}: ${host}`}>
      <Icon name={icon} />
    </a>
  );
}

function StateOf({ row, state }: { row: HostRow; state: HostState | undefined }) {
  if (isUnpaired(row))
    return (
      <State shape="stopped" tone="idle">
        {t('h_unpaired')}
      </State>
    );
  if (!state)
    return (
      <State shape="waiting" tone="idle">
        {t('h_unasked')}
      </State>
    );
  const [shape, tone, word] = STATES[state.state];
  return (
    <span title={state.reason}>
      <State shape={shape} tone={tone}>
        {t(word)}
      </State>
    </span>
  );
}

const rttText = (state: HostState | undefined) =>
  state?.state === 'up' && state.rttMs !== undefined ? roundTripText(state.rttMs) : '';

function Tags({ tags }: { tags: Readonly<Record<string, string>> }) {
  const all = Object.entries(tags).map(([key, value]) => (value === '' ? key : `${key}=${value}`));
  return (
    <span class="tags" title={all.join('\n')}>
      {all.slice(0, MOST_TAGS).map((tag) => (
        <span key={tag} class="tag">
          <Foreign text={tag} most={40} />
        </span>
      ))}
      {all.length > MOST_TAGS && <span class="quiet">+{all.length - MOST_TAGS}</span>}
    </span>
  );
}

function Empty({ filter }: { filter: string }) {
  if (filter === '')
    return (
      <>
        <p>{t('hostsNone')}</p>
        <p>{t('hostsNoneHow')}</p>
      </>
    );
  return (
    <>
      <p>{t('hostsNoMatch', { filter })}</p>
      <button type="button" class="btn" onClick={() => keep({ filter: undefined })}>
        {t('clearFilter')}
      </button>
    </>
  );
}

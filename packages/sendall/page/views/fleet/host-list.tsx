/** The hosts of a fleet run, each with its state, its time and a way to its own output. */
import { addressOf, goTo } from '../../frame/place.js';
import { t } from '../../frame/words.js';
import { Foreign } from '../../parts/foreign.js';
import { countText, durationText } from '../../parts/format.js';
import { List, type Column } from '../../parts/list.js';
import { State } from '../../parts/state.js';
import { isOnItsWay, kindOf, type FleetHosts, type HostChange, type Kind } from './hosts.js';
import { endWord, LOOKS } from './kinds.js';

export interface HostListProps {
  readonly runId: string;
  readonly hosts: FleetHosts;
  readonly kinds: ReadonlySet<Kind>;
  readonly filter: string;
  readonly onFilter: (text: string) => void;
  readonly nowMs: number;
}

export function HostList({ runId, hosts, kinds, filter, onFilter, nowMs }: HostListProps) {
  const rows = hosts.rows(kinds, filter);
  const open = (row: HostChange) => goTo('runs', [row.host, row.runId ?? runId]);
  const columns: Column<HostChange>[] = [
    {
      name: 'state',
      title: t('state'),
      cell: (row) => {
        const { shape, tone } = LOOKS[kindOf(row)];
        return (
          <State shape={shape} tone={tone}>
            {endWord(row)}
          </State>
        );
      },
    },
    {
      name: 'host',
      title: t('host'),
      cell: (row) => (
        <a href={addressOf('runs', [row.host, row.runId ?? runId])} tabIndex={-1}>
          <Foreign text={row.host} />
        </a>
      ),
    },
    {
      name: 'time',
      title: t('duration'),
      cell: (row) => <span class="num">{timeOf(row, nowMs)}</span>,
    },
    { name: 'why', title: t('fleetReason'), cell: (row) => row.reason && <Foreign text={row.reason} most={2000} /> },
  ];
  const isNarrowed = rows.length < hosts.total;
  return (
    <>
      <div class="toolbar">
        <input
          class="input"
          type="search"
          data-filter
          aria-label={t('filterHosts')}
          placeholder={t('filterHosts')}
          value={filter}
          onInput={({ currentTarget }) => onFilter(currentTarget.value)}
        />
        <span class="quiet small">
          {isNarrowed
            ? t('hostsShown', { shown: countText(rows.length), n: countText(hosts.total) })
            : t('hostsCount', { n: countText(hosts.total) })}
        </span>
      </div>
      <List
        label={t('hosts')}
        kind="fleet-hosts"
        rows={rows}
        keyOf={(row) => row.host}
        columns={columns}
        onOpen={open}
        empty={<p>{t('fleetNoHost')}</p>}
      />
    </>
  );
}

function timeOf(row: HostChange, nowMs: number): string {
  const { begunMs = NaN, sinceMs = NaN, durationMs = sinceMs - begunMs } = row;
  const ms = isOnItsWay(kindOf(row)) ? nowMs - begunMs : durationMs;
  return Number.isNaN(ms) ? '' : durationText(ms);
}

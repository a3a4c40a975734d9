/** A run on many hosts: how far it is, what the hosts answered, which ones are late, and what to do about it. */
import { useEffect, useMemo, useState } from 'preact/hooks';
import { announce } from '../../frame/announce.js';
import { feed, type FeedError } from '../../frame/feed.js';
import { addressOf, goTo, keep, type Place } from '../../frame/place.js';
import { language } from '../../frame/settings.js';
import { useStore } from '../../frame/store.js';
import { t } from '../../frame/words.js';
import { Foreign } from '../../parts/foreign.js';
import { countText, durationText, whenText } from '../../parts/format.js';
import { Icon } from '../../parts/icon.js';
import { plain } from '../../parts/printable.js';
import { State } from '../../parts/state.js';
import { Twice } from '../../parts/twice.js';
import { AnswersOf } from './answers.js';
import { HostList } from './host-list.js';
import { KINDS, type FleetHosts, type Kind, type LateHost } from './hosts.js';
import { LOOKS } from './kinds.js';
import { Progress } from './progress.js';
import { WatchedFleet } from './watched.js';

/** Late hosts that are named. */
const FEW = 6;
/** What can be run again. */
const FAILED: readonly Kind[] = ['failed', 'stopped', 'unclear'];

export function FleetView({ place }: { place: Place }) {
  const [runId] = place.items;
  if (runId === undefined)
    return (
      <section class="view">
        <div class="head">
          <h1>{t('fleetTitle')}</h1>
        </div>
        <p class="list-empty">
          <a href={addressOf('runs')}>{t('runs')}</a>
        </p>
      </section>
    );
  return <Fleet key={runId} runId={runId} place={place} />;
}

function Fleet({ runId, place }: { runId: string; place: Place }) {
  const [fleet, setFleet] = useState<WatchedFleet>();
  useEffect(() => {
    const watched = new WatchedFleet(runId);
    setFleet(watched);
    return () => watched.end();
  }, []);
  return fleet ? <Watched fleet={fleet} place={place} /> : null;
}

const kindsOf = (text = ''): ReadonlySet<Kind> => new Set(KINDS.filter((kind) => text.split(',').includes(kind)));

function Watched({ fleet, place }: { fleet: WatchedFleet; place: Place }) {
  useStore(fleet.version);
  const facts = useStore(fleet.facts);
  const live = useStore(fleet.live);
  const error = useStore(fleet.error);
  const greeting = useStore(feed.greeting);
  const [problem, setProblem] = useState<string>();
  const [busy, setBusy] = useState(false);
  const { hosts } = fleet;
  const nowMs = useNow(live === true);
  const chosen = kindsOf(place.values.state);
  const filter = place.values.host ?? '';
  const pane = place.values.show === 'hosts' ? 'hosts' : 'answers';
  // Not drawn again for each key of the filter: it may be large.
  const answers = useMemo(() => <AnswersOf fleet={fleet} />, [fleet, hosts.total, language.value]);
  const failed = hosts.count(...FAILED);
  const open = hosts.count('running', 'starting', 'waiting');
  const isOver = live === false || (hosts.total > 0 && hosts.isOver);

  useEffect(() => {
    if (isOver && hosts.total > 0)
      announce(
        t('fleetOver', { ok: countText(hosts.count('ok')), failed: countText(failed), n: countText(hosts.total) }),
      );
  }, [isOver]);

  const title = [facts?.name, facts?.program].filter(Boolean).join(' · ');
  useEffect(() => {
    if (title) document.title = `${plain(title)} · sendall console`;
  }, [title]);

  const attempt = (what: Promise<void>) => {
    setBusy(true);
    setProblem(undefined);
    what.catch((failure: FeedError) => setProblem(failure.message)).finally(() => setBusy(false));
  };
  const choose = (kind: Kind) => {
    const next = new Set(chosen);
    if (!next.delete(kind)) next.add(kind);
    keep({ state: [...next].join(','), show: 'hosts' });
  };

  return (
    <section class="view fleet-view">
      <div class="head">
        <h1 class="cut">{facts ? <TitleOf facts={facts} /> : t('fleetTitle')}</h1>
        <Standing hosts={hosts} isOver={isOver} />
        {facts && (
          <span class="quiet small">
            {whenText(facts.beginMs)}
            {facts.closedMs !== undefined && ` · ${durationText(facts.closedMs - facts.beginMs)}`}
          </span>
        )}
        {greeting && !greeting.readOnly && (
          <div class="end">
            {failed > 0 && facts?.repeatable && (
              <button
                type="button"
                class="btn"
                disabled={busy}
                onClick={() =>
                  attempt(feed.ask('again', { runId: fleet.runId }).then((next) => goTo('fleet', [next.runId])))
                }
              >
                <Icon name="again" />
                {failed === 1 ? t('fleetAgainOne') : t('fleetAgain', { n: countText(failed) })}
              </button>
            )}
            {!isOver && (
              <Twice
                word={t('fleetCancel')}
                sure={open === 1 ? t('fleetCancelSureOne') : t('fleetCancelSure', { n: countText(open) })}
                disabled={busy}
                onSure={() => attempt(feed.ask('kill', { runId: fleet.runId }).then(() => undefined))}
              />
            )}
          </div>
        )}
      </div>
      {(problem ?? error?.message) !== undefined && (
        <p class="banner bad" role="alert">
          <Foreign text={problem ?? error!.message} most={2000} />
        </p>
      )}
      {hosts.total > 0 && <Progress hosts={hosts} chosen={chosen} onChoose={choose} />}
      <Late late={isOver ? [] : hosts.late(nowMs)} usualMs={hosts.usualMs} runId={fleet.runId} hosts={hosts} />
      <div class="seg panes">
        {(['answers', 'hosts'] as const).map((each) => (
          <button key={each} type="button" aria-pressed={pane === each} onClick={() => keep({ show: each })}>
            {t(each === 'answers' ? 'fleetAnswers' : 'hosts')}
          </button>
        ))}
      </div>
      <div class="fleet-panes" data-pane={pane}>
        <section class="pane pane-answers" aria-label={t('fleetAnswers')}>
          <h2>{t('fleetAnswers')}</h2>
          {answers}
        </section>
        <section class="pane pane-hosts" aria-label={t('hosts')}>
          <HostList
            runId={fleet.runId}
            hosts={hosts}
            kinds={chosen}
            filter={filter}
            onFilter={(text) => keep({ host: text })}
            nowMs={nowMs}
          />
        </section>
      </div>
    </section>
  );
}

function TitleOf({ facts: { name, program, hosts } }: { facts: { name?: string; program?: string; hosts: string } }) {
  return (
    <>
      {program === undefined ? t('fleetTitle') : <Foreign text={program} />}
      {name !== undefined && (
        <span class="tag">
          <Foreign text={name} />
        </span>
      )}{' '}
      <span class="quiet mono">
        <Foreign text={hosts} most={120} />
      </span>
    </>
  );
}

/** Where the whole of it stands: it goes on, all is well, or some hosts are not. */
function Standing({ hosts, isOver }: { hosts: FleetHosts; isOver: boolean }) {
  if (hosts.total === 0) return null;
  if (!isOver) {
    const { shape, tone } = LOOKS.running;
    return (
      <State shape={shape} tone={tone}>
        {t('fleetEnded', { ended: countText(hosts.ended), n: countText(hosts.total) })}
      </State>
    );
  }
  const ok = hosts.count('ok');
  if (ok === hosts.total)
    return (
      <State shape="done" tone="good">
        {t('fleetAllOk', { n: countText(ok) })}
      </State>
    );
  return (
    <State shape="failed" tone="bad">
      {t('fleetNotOk', { n: countText(hosts.total - ok), all: countText(hosts.total) })}
    </State>
  );
}

interface LateProps {
  readonly late: readonly LateHost[];
  readonly usualMs: number | undefined;
  readonly runId: string;
  readonly hosts: FleetHosts;
}

function Late({ late, usualMs, runId, hosts }: LateProps) {
  if (late.length === 0) return null;
  return (
    <div class="late">
      <State shape="warning" tone="warn">
        {late.length === 1 ? t('fleetLateOne') : t('fleetLate', { n: countText(late.length) })}
      </State>
      <ul>
        {late.slice(0, FEW).map(({ host, state, forMs }) => (
          <li key={host}>
            <a href={addressOf('runs', [host, hosts.get(host)?.runId ?? runId])}>
              <Foreign text={host} />
            </a>{' '}
            {t('fleetLateFor', {
              time: durationText(forMs),
              state: t(state === 'running' ? 's_running' : state === 'queued' ? 's_queued' : 's_connecting'),
            })}
          </li>
        ))}
        {late.length > FEW && <li>{t('andMore', { n: countText(late.length - FEW) })}</li>}
      </ul>
      {usualMs !== undefined && <span class="quiet">{t('fleetUsual', { time: durationText(usualMs) })}</span>}
    </div>
  );
}

/** The time, each second while something goes on. */
function useNow(ticks: boolean): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    if (!ticks) return undefined;
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [ticks]);
  return ticks ? Date.now() : now;
}

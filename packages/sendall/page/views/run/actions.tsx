/** What can be done with a run: run it again, download its streams, signal, kill and forget it. */
import { useState } from 'preact/hooks';
import type { Value } from '../../../dist/console/messages.js';
import { feed, type FeedError } from '../../frame/feed.js';
import { goTo } from '../../frame/place.js';
import { useStore } from '../../frame/store.js';
import { t } from '../../frame/words.js';
import { Dialog } from '../../parts/dialog.js';
import { Foreign } from '../../parts/foreign.js';
import { plain, wordsLine } from '../../parts/printable.js';
import { Icon } from '../../parts/icon.js';
import { Twice } from '../../parts/twice.js';
import { draftFrom } from './draft.js';
import type { Listing } from './output-session.js';
import type { Stream } from './output-buffer.js';

/** Those that do not end a run by their nature come first. KILL is not among them: it is what Kill does. */
const SIGNALS = ['INT', 'TERM', 'HUP', 'QUIT', 'USR1', 'USR2', 'STOP', 'CONT', 'WINCH'] as const;

type Report = Value<'signal'>;

export interface ActionsProps {
  readonly host: string;
  readonly runId: string;
  readonly listing: Listing | undefined;
  readonly isLive: boolean;
}

export function Actions({ host, runId, listing, isLive }: ActionsProps) {
  const welcome = useStore(feed.greeting);
  const [open, setOpen] = useState<'kill' | 'forget'>();
  const [problem, setProblem] = useState<string>();
  const mayChange = welcome !== undefined && !welcome.readOnly && !welcome.only;

  function download(stream: Stream) {
    feed.ask('download', { host, runId, stream }).then(
      ({ path, name }) => {
        const link = document.createElement('a');
        link.href = path;
        link.download = name;
        link.click();
      },
      ({ message }: FeedError) => setProblem(message),
    );
  }

  return (
    <>
      {problem !== undefined && <span class="problem">{plain(problem)}</span>}
      {mayChange && listing && (
        <button
          type="button"
          class="btn ghost"
          onClick={() => {
            draftFrom(host, listing.argv);
            goTo('run');
          }}
        >
          <Icon name="again" /> {t('runAgain')}
        </button>
      )}
      <span class="joined">
        {(['stdout', 'stderr'] as const).map((stream) => (
          <button
            key={stream}
            type="button"
            class="btn"
            aria-label={t(stream === 'stdout' ? 'downloadStdout' : 'downloadStderr')}
            onClick={() => download(stream)}
          >
            <Icon name="download" /> {stream}
          </button>
        ))}
      </span>
      {mayChange && isLive && (
        <button type="button" class="btn danger" onClick={() => setOpen('kill')}>
          {t('killOnce')}
        </button>
      )}
      {mayChange && !isLive && listing && (
        <button type="button" class="btn" onClick={() => setOpen('forget')}>
          {t('forget')}
        </button>
      )}
      {open === 'kill' && <KillDialog host={host} runId={runId} onClose={() => setOpen(undefined)} />}
      {open === 'forget' && <ForgetDialog host={host} runId={runId} onClose={() => setOpen(undefined)} />}
    </>
  );
}

interface PlaceProps {
  readonly host: string;
  readonly runId: string;
  readonly onClose: () => void;
}

function KillDialog({ host, runId, onClose }: PlaceProps) {
  const [grace, setGrace] = useState('5s');
  const [signal, setSignal] = useState<(typeof SIGNALS)[number]>('INT');
  const [isBusy, setBusy] = useState(false);
  const [reports, setReports] = useState<readonly Report[]>();
  const [problem, setProblem] = useState<string>();

  function ask(asked: Promise<readonly Report[]>) {
    setBusy(true);
    setProblem(undefined);
    asked.then(setReports, ({ message }: FeedError) => setProblem(message)).finally(() => setBusy(false));
  }

  return (
    <Dialog
      title={t('killTitle')}
      onClose={onClose}
      foot={
        <>
          <button type="button" class="btn" onClick={onClose}>
            {t('close')}
          </button>
          <Twice
            word={t(isBusy ? 'killing' : 'kill')}
            sure={t('killTwice')}
            onSure={() =>
              ask(feed.ask('kill', { host, runId, ...(grace.trim() ? { grace } : {}) }).then(({ reports }) => reports))
            }
          />
        </>
      }
    >
      <p>{t('killWhat')}</p>
      <div class="field">
        <label for="kill-grace">{t('killGrace')}</label>
        <input
          id="kill-grace"
          class="input"
          value={grace}
          onInput={({ currentTarget }) => setGrace(currentTarget.value)}
        />
      </div>
      <div class="field">
        <label for="kill-signal">{t('sendSignal')}</label>
        <div class="side-by-side">
          <select
            id="kill-signal"
            class="select"
            value={signal}
            onChange={({ currentTarget }) => setSignal(currentTarget.value as typeof signal)}
          >
            {SIGNALS.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
          <button
            type="button"
            class="btn"
            disabled={isBusy}
            onClick={() => ask(feed.ask('signal', { host, runId, signal }).then((report) => [report]))}
          >
            {t('send')}
          </button>
        </div>
      </div>
      <div role="status">
        {problem !== undefined && <p class="problem">{plain(problem)}</p>}
        {reports?.map((report) => (
          <ReportOf key={report.runId} report={report} />
        ))}
      </div>
    </Dialog>
  );
}

function ReportOf({ report: { result, signalled, survivors, proof } }: { report: Report }) {
  return (
    <div class={survivors.length > 0 ? 'note warn report' : 'note report'}>
      <span>
        {t('killReport', { result: plain(result), n: signalled.length })}
        {proof !== undefined && ` · ${t(proof === 'cgroup' ? 'killProofCgroup' : 'killProofUnproven')}`}
      </span>
      {survivors.map(({ pid, argv }) => (
        <span key={pid} class="mono">
          {pid} <Foreign text={wordsLine(argv)} />
        </span>
      ))}
    </div>
  );
}

function ForgetDialog({ host, runId, onClose }: PlaceProps) {
  const [problem, setProblem] = useState<string>();
  return (
    <Dialog
      title={t('forgetTitle')}
      onClose={onClose}
      foot={
        <>
          <button type="button" class="btn" onClick={onClose}>
            {t('cancel')}
          </button>
          <Twice
            word={t('forget')}
            sure={t('forgetTwice')}
            onSure={() =>
              feed.ask('forget', { host, runId }).then(
                ({ silent }) => {
                  if (silent.length > 0) setProblem(silent[0]!.message);
                  else goTo('runs');
                },
                ({ message }: FeedError) => setProblem(message),
              )
            }
          />
        </>
      }
    >
      <p>{t('forgetWhat')}</p>
      {problem !== undefined && <p class="problem">{plain(problem)}</p>}
    </Dialog>
  );
}

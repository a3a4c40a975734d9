/** A terminal: the screen of a run that has one, with its link, its control and the ways out. */
import { useEffect, useRef, useState } from 'preact/hooks';
import { announce } from '../../frame/announce.js';
import { feed, type FeedError } from '../../frame/feed.js';
import { addressOf, goTo, keep, type Place } from '../../frame/place.js';
import { language, scheme } from '../../frame/settings.js';
import { Store, useStore } from '../../frame/store.js';
import { t } from '../../frame/words.js';
import { Dialog } from '../../parts/dialog.js';
import { Foreign } from '../../parts/foreign.js';
import { Icon } from '../../parts/icon.js';
import { plain } from '../../parts/printable.js';
import { State } from '../../parts/state.js';
import { openShell } from './open.js';
import { asksFirst, readPaste, type Paste } from './paste.js';
import { Screen } from './screen.js';
import { TerminalSession, type SessionState } from './session.js';

export function TerminalView({ place }: { place: Place }) {
  const [host, runId] = place.items;
  if (host === undefined) return <NoHost />;
  if (runId === undefined) return <NewShell key={host} host={host} />;
  return <Joined key={`${host} ${runId}`} host={host} runId={runId} control={place.values.control === '1'} />;
}

function NoHost() {
  return (
    <section class="view">
      <div class="head">
        <h1>{t('terminal')}</h1>
      </div>
      <div class="list-empty">
        <p>{t('terminalNoHost')}</p>
        <a class="btn" href={addressOf('hosts')}>
          {t('hosts')}
        </a>
      </div>
    </section>
  );
}

function NewShell({ host }: { host: string }) {
  const { readOnly } = useStore(feed.greeting) ?? { readOnly: false };
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<FeedError>();
  const open = () => {
    setBusy(true);
    setError(undefined);
    openShell(host).catch((failure: FeedError) => {
      setError(failure);
      setBusy(false);
    });
  };
  return (
    <section class="view">
      <div class="head">
        <h1>
          {t('terminalOn')} <Foreign text={host} />
        </h1>
      </div>
      <div class="list-empty">
        <p>{readOnly ? t('terminalReadOnly') : t('terminalNew')}</p>
        <button type="button" class="btn primary" disabled={busy || readOnly} onClick={open}>
          <Icon name="terminal" />
          {t('terminalOpen')}
        </button>
        {error && (
          <p class="problem" role="alert">
            <Foreign text={error.message} most={2000} />
          </p>
        )}
      </div>
    </section>
  );
}

/** What there is before the first attachment. */
const nothing = new Store<SessionState>({
  phase: 'joining',
  control: false,
  behind: true,
  taken: false,
  noTerminal: false,
  past: false,
});

function Joined({ host, runId, control }: { host: string; runId: string; control: boolean }) {
  const frame = useRef<HTMLDivElement>(null);
  const leave = useRef<HTMLButtonElement>(null);
  const screen = useRef<Screen | undefined>(undefined);
  const [session, setSession] = useState<TerminalSession>();
  const [paste, setPaste] = useState<Paste>();
  const [size, setSize] = useState({ cols: 0, rows: 0 });
  const [aloud, setAloud] = useState(false);
  const [problem, setProblem] = useState<string>();
  const [linked, setLinked] = useState(false);
  const state = useStore(session?.state ?? nothing);
  const greeting = useStore(feed.greeting);
  useStore(language);
  const mayControl = greeting !== undefined && !greeting.readOnly && !greeting.only;

  useEffect(() => {
    let joined: TerminalSession | undefined;
    const made = new Screen(frame.current!, {
      label: t('terminalKeys'),
      onTyped: (bytes) => joined?.typed(bytes),
      onPasted: (text) => {
        const read = readPaste(text);
        if (asksFirst(read)) setPaste(read);
        else made.paste(read.text);
      },
      onSize: (cols, rows) => {
        setSize({ cols, rows });
        joined?.resized();
      },
      onLeave: () => leave.current?.focus(),
    });
    screen.current = made;
    setSize(made.size);
    joined = new TerminalSession({ host, runId, control }, made);
    setSession(joined);
    const recolour = () => made.recolour();
    const dark = matchMedia('(prefers-color-scheme: dark)');
    dark.addEventListener('change', recolour);
    const unwatch = scheme.watch(() => requestAnimationFrame(recolour));
    return () => {
      joined?.end();
      made.end();
      dark.removeEventListener('change', recolour);
      unwatch();
    };
  }, []);

  // The frame gives the focus to a new view; from there it goes on to the keys, unless the reader has moved it.
  useEffect(() => {
    if (state.phase === 'joined' && state.control && document.activeElement?.matches('main, body'))
      screen.current?.focus();
  }, [state.phase, state.control]);
  useEffect(() => {
    document.title = `${plain(host)} · ${t('terminal')} · sendall console`;
  }, []);
  // A reload, or another link, goes on as it is now.
  useEffect(() => {
    if (state.phase === 'joined') keep({ control: state.control ? '1' : undefined });
  }, [state.control, state.phase]);
  useEffect(() => {
    if (state.taken) announce(t('terminalTaken'));
    else if (state.phase === 'lost') announce(t('terminalLost'));
    else if (state.phase === 'ended') announce(endOf(state));
  }, [state.taken, state.phase]);

  const change = (what: Promise<void> | undefined) => {
    setProblem(undefined);
    screen.current?.focus();
    what?.catch((error: Error) => setProblem(error.message));
  };
  const copyLink = () => {
    feed
      .ask('watchLink', { host, runId })
      .then(async ({ url }) => {
        setLinked(true);
        await navigator.clipboard.writeText(url);
      })
      .then(
        () => announce(t('terminalLinkCopied')),
        (error: Error) => setProblem(error.message),
      );
  };

  const withdrawLink = () => {
    feed.ask('withdrawLink', { host, runId }).then(
      () => {
        setLinked(false);
        announce(t('terminalLinkWithdrawn'));
      },
      (error: Error) => setProblem(error.message),
    );
  };

  return (
    <section class="view terminal-view" aria-label={`${t('terminalOn')} ${plain(host)}`}>
      <div class="head">
        <h1>
          <Foreign text={host} />
        </h1>
        <Phase state={state} />
        <div class="end">
          {mayControl && state.phase === 'joined' && !state.noTerminal && (
            <button
              type="button"
              class={`btn ${state.control ? '' : 'primary'}`}
              onClick={() => change(state.control ? session?.release() : session?.take())}
            >
              <Icon name={state.control ? 'eye' : 'keys'} />
              {state.control ? t('terminalRelease') : t('terminalTake')}
            </button>
          )}
          {greeting && !greeting.only && (
            <button type="button" class="btn" onClick={copyLink}>
              {t('terminalWatchLink')}
            </button>
          )}
          {linked && (
            <button type="button" class="btn" onClick={withdrawLink}>
              {t('terminalWithdrawLink')}
            </button>
          )}
          <button
            type="button"
            class="btn"
            aria-pressed={aloud}
            onClick={() => {
              setAloud(!aloud);
              if (screen.current) screen.current.readsAloud = !aloud;
            }}
          >
            {t('terminalAloud')}
          </button>
          <button
            ref={leave}
            type="button"
            class="btn"
            onClick={() => goTo('runs', [host, runId])}
            title={state.phase === 'ended' ? undefined : t('terminalDetachHint')}
          >
            {state.phase === 'ended' ? t('terminalRun') : t('terminalDetach')}
          </button>
        </div>
      </div>
      <Notice state={state} problem={problem} />
      <div class="terminal-frame" ref={frame} />
      <p class="terminal-foot">
        <span>{t('terminalKeysHint')}</span>
        <span class="mono" aria-label={t('terminalSize')}>
          {size.cols}×{size.rows}
        </span>
      </p>
      {paste && (
        <PasteDialog
          paste={paste}
          onClose={() => {
            setPaste(undefined);
            // Behind a dialog nothing can have the focus.
            requestAnimationFrame(() => screen.current?.focus());
          }}
          onPaste={() => screen.current?.paste(paste.text)}
        />
      )}
    </section>
  );
}

function endOf({ result }: SessionState): string {
  if (!result) return t('terminalEnded');
  if (result.outcome === 'ok' || result.outcome === 'failed') return t('terminalExit', { code: result.code ?? '?' });
  return plain(result.reason);
}

function Phase({ state }: { state: SessionState }) {
  if (state.phase === 'joining' || (state.phase === 'joined' && state.control && state.behind))
    return (
      <State shape="waiting" tone="idle">
        {t('terminalJoining')}
      </State>
    );
  if (state.phase === 'lost')
    return (
      <State shape="lost" tone="warn">
        {t('terminalLost')}
      </State>
    );
  if (state.phase === 'failed')
    return (
      <State shape="failed" tone="bad">
        {t('terminalFailed')}
      </State>
    );
  if (state.phase === 'ended')
    return (
      <State shape="stopped" tone={state.result?.outcome === 'ok' ? 'good' : 'idle'}>
        {endOf(state)}
      </State>
    );
  return state.control ? (
    <State shape="up" tone="good">
      {t('terminalInControl')}
    </State>
  ) : (
    <State shape="up" tone="idle">
      {t('terminalWatching')}
    </State>
  );
}

function Notice({ state, problem }: { state: SessionState; problem: string | undefined }) {
  if (problem !== undefined)
    return (
      <p class="banner bad" role="alert">
        <Foreign text={problem} most={2000} />
      </p>
    );
  if (state.error)
    return (
      <p class="banner bad" role="alert">
        <Foreign text={state.error.message} most={2000} />
      </p>
    );
  if (state.taken) return <p class="banner">{t('terminalTaken')}</p>;
  if (state.noTerminal) return <p class="banner">{t('terminalNone')}</p>;
  if (state.past) return <p class="banner">{t('terminalPast')}</p>;
  return null;
}

function PasteDialog({ paste, onClose, onPaste }: { paste: Paste; onClose: () => void; onPaste: () => void }) {
  const accept = useRef<HTMLButtonElement>(null);
  return (
    <Dialog
      title={paste.lines > 1 ? t('pasteLines', { lines: paste.lines }) : t('pasteHidden')}
      onClose={onClose}
      foot={
        <>
          <button type="button" class="btn" onClick={onClose}>
            {t('cancel')}
          </button>
          <button
            ref={accept}
            type="button"
            class="btn primary"
            onClick={() => {
              onPaste();
              onClose();
            }}
          >
            {t('pasteType')}
          </button>
        </>
      }
    >
      <p>{t('pasteWhy')}</p>
      {paste.removed > 0 && <p class="note warn">{t('pasteRemoved', { count: paste.removed })}</p>}
      <pre class="paste" tabIndex={0}>
        {paste.text.split('\n').map((line, i) => (
          <div key={i}>
            <Foreign text={line} most={500} />
          </div>
        ))}
      </pre>
    </Dialog>
  );
}

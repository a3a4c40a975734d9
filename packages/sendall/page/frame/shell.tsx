/** The frame of all views: navigation, the link's state, language and colours, and the view itself. */
import type { ComponentType } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { Icon, type IconName } from '../parts/icon.js';
import { Dialog } from '../parts/dialog.js';
import { State, type Shape, type Tone } from '../parts/state.js';
import { announce } from './announce.js';
import { feed, type Link } from './feed.js';
import { Keys, useKey } from './keys.js';
import { addressOf, goTo, place, type Place } from './place.js';
import { language, LANGUAGES, scheme, SCHEMES, type Language, type Scheme } from './settings.js';
import { useStore } from './store.js';
import { speak, t, type WordName } from './words.js';

export type View = ComponentType<{ place: Place }>;
/** By the first word of the path: a view, which may have to be loaded. */
export type Views = Readonly<Record<string, (place: Place) => Promise<View>>>;

const NAVIGATION: readonly { view: string; items?: string[]; word: WordName; icon: IconName }[] = [
  { view: 'hosts', word: 'hosts', icon: 'hosts' },
  { view: 'runs', word: 'runs', icon: 'runs' },
  { view: 'run', word: 'run', icon: 'run' },
  { view: 'policy', items: ['local'], word: 'policy', icon: 'policy' },
];

export function Shell({ views }: { views: Views }) {
  const here = useStore(place);
  const link = useStore(feed.link);
  const welcome = useStore(feed.greeting);
  // Everything is drawn again in the other language.
  useStore(language);
  useWatchOnly(welcome?.only);
  if (link.state === 'over') return <NoKey why={link.why} />;
  return (
    <>
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          document.getElementById('main')?.focus();
        }}
      >
        {t('skip')}
      </a>
      <div class="shell">
        <header class="side">
          <div class="brand">
            <img src="icon.svg" alt="" width="20" height="20" />
            <span class="brand-name">
              sendall <span>console</span>
            </span>
          </div>
          {!welcome?.only && <Navigation here={here} />}
          <Foot link={link} />
        </header>
        <main id="main" tabIndex={-1}>
          <Banner link={link} />
          <ViewOf views={views} here={here} />
        </main>
      </div>
      <Keys />
    </>
  );
}

/** A page for watching one run goes there and nowhere else. */
function useWatchOnly(only: { host: string; runId: string } | undefined): void {
  useEffect(() => {
    if (only) goTo('runs', [only.host, only.runId]);
  }, [only]);
}

function Navigation({ here }: { here: Place }) {
  useKey('h', 'keyHosts', () => goTo('hosts'));
  useKey('r', 'keyRuns', () => goTo('runs'));
  useKey('n', 'keyRun', () => goTo('run'));
  useKey('p', 'keyPolicy', () => goTo('policy', ['local']));
  return (
    <nav class="nav" aria-label={t('navigation')}>
      {NAVIGATION.map(({ view, items, word, icon }) => {
        const isHere = here.view === view || (view === 'runs' && here.view === 'fleet');
        return (
          <a key={view} href={addressOf(view, items)} aria-current={isHere ? 'page' : undefined}>
            <Icon name={icon} />
            {t(word)}
          </a>
        );
      })}
    </nav>
  );
}

const LINK: Readonly<Record<Link['state'], { shape: Shape; tone: Tone; word: WordName }>> = {
  open: { shape: 'up', tone: 'good', word: 'link_open' },
  connecting: { shape: 'running', tone: 'busy', word: 'link_connecting' },
  waiting: { shape: 'lost', tone: 'warn', word: 'link_waiting' },
  over: { shape: 'lost', tone: 'bad', word: 'link_over' },
};

function Foot({ link }: { link: Link }) {
  const [isOpen, setOpen] = useState(false);
  const welcome = useStore(feed.greeting);
  const { shape, tone, word } = LINK[link.state];
  return (
    <div class="side-foot">
      <div class="side-row wide">
        <State shape={shape} tone={tone}>
          {t(word)}
        </State>
        {welcome?.readOnly && (
          <span class="tag" title={t('readOnlyWhy')}>
            {t('readOnly')}
          </span>
        )}
      </div>
      <div class="side-row wide choices">
        <Choices />
      </div>
      <button type="button" class="btn ghost icon narrow" aria-label={t('settings')} onClick={() => setOpen(true)}>
        <Icon name="more" />
      </button>
      {isOpen && (
        <Dialog title={t('settings')} onClose={() => setOpen(false)}>
          <State shape={shape} tone={tone}>
            {t(word)}
          </State>
          <Choices />
        </Dialog>
      )}
    </div>
  );
}

function Choices() {
  const [spoken, colours] = [useStore(language), useStore(scheme)];
  return (
    <>
      <select
        class="select"
        aria-label={t('language')}
        value={spoken}
        onChange={({ currentTarget }) => {
          speak(currentTarget.value as Language).catch(() => (currentTarget.value = language.value));
        }}
      >
        {LANGUAGES.map((each) => (
          <option key={each} value={each} lang={each}>
            {each === 'en' ? 'English' : '中文'}
          </option>
        ))}
      </select>
      <select
        class="select"
        aria-label={t('scheme')}
        value={colours}
        onChange={({ currentTarget }) => (scheme.value = currentTarget.value as Scheme)}
      >
        {SCHEMES.map((each) => (
          <option key={each} value={each}>
            {t(`scheme_${each}`)}
          </option>
        ))}
      </select>
    </>
  );
}

/** Says that the feed is lost, and when it is tried again. */
function Banner({ link }: { link: Link }) {
  const trouble = useStore(feed.trouble);
  const [, tick] = useState(0);
  const wasLost = useRef(false);
  useEffect(() => {
    if (link.state === 'waiting') {
      if (!wasLost.current) announce(t('linkLost'));
      wasLost.current = true;
      const timer = setInterval(() => tick((count) => count + 1), 500);
      return () => clearInterval(timer);
    }
    if (link.state === 'open' && wasLost.current) {
      wasLost.current = false;
      announce(t('heardAgain'));
    }
    return undefined;
  }, [link]);
  if (link.state === 'waiting')
    return (
      <div class="banner">
        <State shape="lost" tone="warn">
          {t('linkLost')}
        </State>
        <span>{t('retryIn', { s: Math.max(0, Math.ceil((link.at - Date.now()) / 1000)) })}</span>
        <button type="button" class="btn" onClick={feed.retryNow}>
          {t('retryNow')}
        </button>
      </div>
    );
  if (trouble !== undefined)
    return (
      <div class="banner bad">
        <span>{t('misunderstood', { what: trouble })}</span>
        <button type="button" class="btn" onClick={() => (feed.trouble.value = undefined)}>
          {t('close')}
        </button>
      </div>
    );
  return null;
}

/** The view of the address. A new one gets the focus, so that the keyboard and a screen reader begin there. */
function ViewOf({ views, here }: { views: Views; here: Place }) {
  const [shown, setShown] = useState<{ View: View; path: string } | { problem: string }>();
  const path = [here.view, ...here.items].join('/');
  const isFirst = useRef(true);
  const own = useRef(here);
  useEffect(() => {
    let isCurrent = true;
    const load = views[here.view];
    const show = (next: typeof shown) => isCurrent && setShown(next);
    if (!load) show({ problem: t('noView') });
    else
      load(here).then(
        (View) => show({ View, path }),
        (error: unknown) => show({ problem: t('viewFailed', { what: String(error) }) }),
      );
    return () => {
      isCurrent = false;
    };
  }, [path]);
  const isShown = shown !== undefined && 'View' in shown && shown.path === path;
  useEffect(() => {
    if (!isShown) return;
    if (!isFirst.current) document.getElementById('main')?.focus();
    isFirst.current = false;
    document.title = `${document.querySelector('main h1')?.textContent ?? ''} · sendall console`;
  }, [isShown, path]);
  if (shown && 'problem' in shown) return <p class="list-empty">{shown.problem}</p>;
  if (!shown) return <p class="sr">{t('loading')}</p>;
  // The view before stays, at its own place, until the next one is here: nothing flashes.
  if (shown.path === path) own.current = here;
  return <shown.View key={shown.path} place={own.current} />;
}

/** What to do without a key: paste the link. */
function NoKey({ why }: { why: 'noKey' | 'token' | 'pages' | 'other' }) {
  const [text, setText] = useState('');
  const said = { noKey: 'noKey', token: 'wrongKey', pages: 'tooManyPages', other: 'otherProgram' } as const;
  return (
    <main class="center">
      <h1>{t('noKeyTitle')}</h1>
      <p class="quiet">{t(said[why])}</p>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          feed.start(text);
        }}
      >
        <label class="field">
          <span class="label">{t('pasteLink')}</span>
          <input
            class="input mono"
            type="password"
            autocomplete="off"
            value={text}
            onInput={({ currentTarget }) => setText(currentTarget.value)}
          />
        </label>
        <button type="submit" class="btn primary" disabled={text.trim() === ''}>
          {t('openKey')}
        </button>
      </form>
    </main>
  );
}

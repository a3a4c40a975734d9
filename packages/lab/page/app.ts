/** Puts the page together: tabs, language, colours, and the four views. */
import { onState, onTrouble } from './connection.js';
import { byId, el } from './dom.js';
import { currentLanguage, setLanguage, t, translateDocument } from './words.js';
import { workbench } from './workbench.js';
import { phenomena } from './phenomena.js';
import { inspect } from './inspect.js';
import { goTo, here, keep, onPlace, type Tab } from './place.js';
import { chaos } from './chaos.js';

const views: { name: Tab; view: { translate(): void; shown?(): void; item?(): string } }[] = [
  { name: 'workbench', view: workbench(byId('view-workbench')) },
  { name: 'phenomena', view: phenomena(byId('view-phenomena')) },
  { name: 'inspect', view: inspect(byId('view-inspect')) },
  { name: 'chaos', view: chaos(byId('view-chaos')) },
];

// ---- tabs (arrow keys move, as in the ARIA pattern for tabs)
const tabs = views.map(({ name }) => byId(`tab-${name}`));

function select(index: number, focus = false) {
  tabs.forEach((tab, each) => {
    const chosen = each === index;
    tab.setAttribute('aria-selected', String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
    byId(`view-${views[each]?.name}`).hidden = !chosen;
    if (chosen && focus) tab.focus();
  });
  const chosen = views[index]!;
  chosen.view.shown?.();
  goTo(chosen.name, chosen.view.item?.());
}
tabs.forEach((tab, index) => {
  tab.addEventListener('click', () => select(index));
  tab.addEventListener('keydown', (event) => {
    const move = { ArrowRight: 1, ArrowLeft: -1, Home: -index, End: tabs.length - 1 - index }[event.key];
    if (move === undefined) return;
    event.preventDefault();
    select((index + move + tabs.length) % tabs.length, true);
  });
});

// ---- language and colours
const language = byId('language') as HTMLSelectElement;
language.addEventListener('change', () => {
  keep({ lang: language.value });
  useLanguage();
});
function useLanguage() {
  setLanguage(here().values.get('lang') ?? currentLanguage());
  language.value = currentLanguage();
  translate();
}

const theme = byId('theme') as HTMLSelectElement;
theme.addEventListener('change', () => {
  keep({ theme: theme.value === 'auto' ? undefined : theme.value });
  useTheme();
});
function useTheme() {
  const named = here().values.get('theme');
  theme.value = named === 'light' || named === 'dark' ? named : 'auto';
  document.documentElement.dataset.theme = theme.value;
}

const text = byId('text') as HTMLSelectElement;
text.addEventListener('change', () => {
  keep({ text: text.value === 'normal' ? undefined : text.value });
  useText();
});
function useText() {
  const named = here().values.get('text');
  text.value = named === 'large' || named === 'projector' ? named : 'normal';
  document.documentElement.dataset.text = text.value;
}

let connected: boolean | undefined;
let misunderstood: string | undefined;
function translate() {
  translateDocument();
  for (const { view } of views) view.translate();
  showState();
}

function showState() {
  const link = byId('link');
  const state = connected === undefined ? '' : t(connected ? 'connected' : 'disconnected');
  link.replaceChildren(el('span', {}, connected && misunderstood ? misunderstood : state));
  link.dataset.state = connected === undefined ? '' : connected ? 'open' : 'closed';
}
onState((open) => {
  connected = open;
  showState();
});

onTrouble((what) => {
  misunderstood = what;
  showState();
});

function show() {
  useTheme();
  useText();
  useLanguage();
  select(views.findIndex(({ name }) => name === here().tab));
}
onPlace(show);
show();

// @ts-check
// Puts the page together: tabs, language, colours, and the four views.
import { onState } from './connection.js';
import { byId } from './dom.js';
import { currentLanguage, setLanguage, t, translateDocument } from './words.js';
import { workbench } from './workbench.js';
import { phenomena } from './phenomena.js';
import { inspect } from './inspect.js';
import { chaos } from './chaos.js';

/** @type {{ name: string, view: { translate(): void, shown?(): void } }[]} */
const views = [
  { name: 'workbench', view: workbench(byId('view-workbench')) },
  { name: 'phenomena', view: phenomena(byId('view-phenomena')) },
  { name: 'inspect', view: inspect(byId('view-inspect')) },
  { name: 'chaos', view: chaos(byId('view-chaos')) },
];

// ---- tabs (arrow keys move, as the pattern for tabs has it)
const tabs = views.map(({ name }) => byId(`tab-${name}`));

/** @param {number} index @param {boolean} [focus] */
function select(index, focus = false) {
  tabs.forEach((tab, each) => {
    const chosen = each === index;
    tab.setAttribute('aria-selected', String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
    byId(`view-${views[each]?.name}`).hidden = !chosen;
    if (chosen && focus) tab.focus();
  });
  views[index]?.view.shown?.();
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
const language = /** @type {HTMLSelectElement} */ (byId('language'));
language.value = currentLanguage();
language.addEventListener('change', () => {
  setLanguage(language.value);
  translate();
});

const theme = /** @type {HTMLSelectElement} */ (byId('theme'));
theme.addEventListener('change', () => {
  document.documentElement.dataset.theme = theme.value;
});

/** @type {boolean | undefined} */
let connected;
function translate() {
  translateDocument();
  for (const { view } of views) view.translate();
  showState();
}

function showState() {
  const link = byId('link');
  link.textContent = connected === undefined ? '' : t(connected ? 'connected' : 'disconnected');
  link.dataset.state = connected === undefined ? '' : connected ? 'open' : 'closed';
}
onState((open) => {
  connected = open;
  showState();
});

translate();
select(0);

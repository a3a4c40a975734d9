/** Puts the page together: the key from the address, the feed, and the frame with the view that the address names. */
import { render } from 'preact';
import { feed } from './frame/feed.js';
import { takeToken } from './frame/place.js';
import { applySettings, language } from './frame/settings.js';
import { Shell } from './frame/shell.js';
import { speak } from './frame/words.js';
import { announceIn } from './frame/announce.js';
import { Hosts } from './views/hosts.js';
import { Runs } from './views/runs.js';

applySettings();
announceIn(document.getElementById('news'));
feed.start(takeToken());
await speak(language.value);
render(
  <Shell
    views={{
      hosts: () => Promise.resolve(Hosts),
      runs: async ({ items }) => (items.length < 2 ? Runs : (await import('./views/run-view.js')).RunView),
      fleet: async () => (await import('./views/fleet/fleet-view.js')).FleetView,
      terminal: async () => (await import('./views/terminal/terminal-view.js')).TerminalView,
      policy: async () => (await import('./views/policy/policy-view.js')).PolicyView,
      run: async () => (await import('./views/run-form.js')).RunForm,
    }}
  />,
  document.getElementById('app')!,
);

/** Where the page is: a view, its items and its settings, as the fragment of the address (`#/runs/web1/0193…?at=4096`). */
import { Store } from './store.js';

export interface Place {
  /** The first word of the path, such as `hosts`. */
  readonly view: string;
  /** The other words of the path, decoded. */
  readonly items: readonly string[];
  readonly values: Readonly<Record<string, string>>;
}

/** The place that a fragment names. */
export function readPlace(fragment: string): Place {
  const [path = '', query = ''] = fragment.replace(/^#\/?/, '').split('?', 2);
  const [view = '', ...items] = path.split('/').map(decoded);
  return { view: view || 'hosts', items, values: Object.fromEntries(new URLSearchParams(query)) };
}

function decoded(word: string): string {
  try {
    return decodeURIComponent(word);
  } catch {
    return word;
  }
}

/** The address of a place, for a link. Values that are undefined or empty are left out. */
export function addressOf(
  view: string,
  items: readonly string[] = [],
  values: Readonly<Record<string, string | undefined>> = {},
): string {
  const given = Object.entries(values).filter((entry): entry is [string, string] => Boolean(entry[1]));
  const query = new URLSearchParams(given.toSorted(([a], [b]) => (a < b ? -1 : 1))).toString();
  return `#/${[view, ...items].map(encodeURIComponent).join('/')}${query && `?${query}`}`;
}

export const place = new Store<Place>(readPlace(''));

/** Goes to another view: Back leads to the one before. */
export function goTo(view: string, items: readonly string[] = [], values: Readonly<Record<string, string>> = {}): void {
  location.hash = addressOf(view, items, values);
}

/** Changes settings of the present view without a step of the history. */
export function keep(values: Readonly<Record<string, string | undefined>>): void {
  const { view, items, values: before } = place.value;
  history.replaceState(null, '', addressOf(view, items, { ...before, ...values }));
  place.value = readPlace(location.hash);
}

/** Takes the token out of the address, so that neither the history nor a bookmark holds it. */
export function takeToken(): string | undefined {
  const token = location.hash.slice(1);
  const found = token !== '' && !token.startsWith('/');
  if (found) history.replaceState(null, '', addressOf('hosts'));
  place.value = readPlace(location.hash);
  addEventListener('hashchange', () => {
    place.value = readPlace(location.hash);
  });
  return found ? token : undefined;
}

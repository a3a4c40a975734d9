/** Where the page is: tab, phenomenon, settings, language and colours, as the fragment of its address. */

const TABS = ['workbench', 'phenomena', 'inspect', 'chaos'] as const;
export type Tab = (typeof TABS)[number];

export interface Place {
  readonly tab: Tab;
  /** Behind the tab's name, as in `phenomena/rtt`. */
  readonly item: string | undefined;
  readonly values: ReadonlyMap<string, string>;
}

/** The place that the address names; what it does not know is left out. */
export function readPlace(fragment = location.hash): Place {
  const [path = '', query = ''] = fragment.replace(/^#/, '').split('?', 2);
  const [name, item] = path.split('/', 2);
  return {
    tab: TABS.find((tab) => tab === name) ?? 'workbench',
    item: item || undefined,
    values: new Map(new URLSearchParams(query)),
  };
}

let place = readPlace();

export const here = (): Place => place;

/** Another tab or phenomenon: Back leads to the one before. */
export function goTo(tab: Tab, item?: string): void {
  if (place.tab === tab && place.item === item) return;
  place = { ...place, tab, item };
  history.pushState(null, '', written());
}

/** A value of the place; undefined: as it is without the address. */
export function keep(values: Readonly<Record<string, string | undefined>>): void {
  const next = new Map(place.values);
  for (const [name, value] of Object.entries(values)) {
    if (value === undefined) next.delete(name);
    else next.set(name, value);
  }
  place = { ...place, values: next };
  history.replaceState(null, '', written());
}

function written(): string {
  const { tab, item, values } = place;
  const query = new URLSearchParams([...values].toSorted(([a], [b]) => (a < b ? -1 : 1))).toString();
  return `#${tab}${item === undefined ? '' : `/${item}`}${query && `?${query}`}`;
}

/** Calls back when the reader has gone back or forth, or changed the address. */
export function onPlace(moved: () => void): void {
  addEventListener('popstate', () => {
    place = readPlace();
    moved();
  });
}

/** What the page knows of hosts: their list, kept up to date for all views, and the state of those in sight. */
import { useEffect } from 'preact/hooks';
import type { EventOf } from '../../dist/console/messages.js';
import { feed, type Subscription } from '../frame/feed.js';
import { Store } from '../frame/store.js';
import { HostIndex } from './targets.js';

export type HostState = Extract<EventOf<'hosts'>, { event: 'host' }>;

/** Most hosts that are asked at once. */
const MOST_WATCHED = 256;

/** Undefined until the list has come. */
export const hosts = new Store<HostIndex | undefined>(undefined);
/** Why a part of the list is missing. */
export const hostsProblem = new Store<string | undefined>(undefined);
/** The states of hosts that were ever in sight; a new map for each change. */
export const hostStates = new Store<ReadonlyMap<string, HostState>>(new Map());

/** Grows when it has become known what a group means: views look again. */
export const groupsKnown = new Store(0);

let listing: Subscription | undefined;
let watching: Subscription | undefined;
let watched = '';
let isDrawing = false;
const states = new Map<string, HostState>();

function onEvent(event: EventOf<'hosts'>): void {
  if (event.event === 'hosts') {
    hostsProblem.value = event.problem;
    const index: HostIndex = new HostIndex(event.hosts, event.words, () => {
      if (hosts.value === index) groupsKnown.value += 1;
    });
    hosts.value = index;
    return;
  }
  states.set(event.host, event);
  // Many answers come at once: one drawing for all of them.
  if (isDrawing) return;
  isDrawing = true;
  requestAnimationFrame(() => {
    isDrawing = false;
    hostStates.value = new Map(states);
  });
}

/** Keeps the list of hosts up to date from now on. */
export function followHosts(): void {
  listing ??= feed.subscribe('hosts', () => ({}), { onEvent });
}

/** Asks for the state of these hosts, in place of those before. */
export function watchHosts(names: readonly string[]): void {
  const wanted = names.slice(0, MOST_WATCHED).join(',');
  if (wanted === watched) return;
  watched = wanted;
  watching?.end();
  watching = wanted === '' ? undefined : feed.subscribe('hosts', () => ({ watch: wanted, list: false }), { onEvent });
}

/** The list for a view, followed from the first use on. */
export function useHosts(): void {
  useEffect(followHosts, []);
}

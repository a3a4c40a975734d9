/** A fleet run that the page watches: its hosts as they change, and their answers in groups of equal ones. */
import { feed, FeedError, type Subscription } from '../../frame/feed.js';
import { Store } from '../../frame/store.js';
import type { Value } from '../../../dist/console/messages.js';
import { FleetHosts } from './hosts.js';

/** Milliseconds between two looks at the answers while hosts end, and how many times as long as the last look took. */
const PERIOD = 700;
const SHARE = 4;

export type Answers = Value<'groups'>;
export type Differences = Value<'diff'>;
export type FleetFacts = Value<'fleetInfo'>['run'];

export class WatchedFleet {
  readonly runId: string;
  /** Counts up when hosts have changed: at most once a frame. */
  readonly version = new Store(0);
  readonly facts = new Store<FleetFacts | undefined>(undefined);
  readonly live = new Store<boolean | undefined>(undefined);
  readonly answers = new Store<Answers | undefined>(undefined);
  readonly differences = new Store<Differences | undefined>(undefined);
  readonly error = new Store<FeedError | undefined>(undefined);
  #hosts = new FleetHosts();
  readonly #subscription: Subscription;
  #frame: number | undefined;
  #asking = false;
  #pause: ReturnType<typeof setTimeout> | undefined;
  #askedAt = -1;
  #compares = false;
  #closed = false;

  constructor(runId: string) {
    this.runId = runId;
    this.#subscription = feed.subscribe('fleet', () => ({ runId }), {
      onOpened: ({ live }) => {
        // After a loss of the feed all hosts come again.
        this.#hosts = new FleetHosts();
        this.live.value = live;
        this.error.value = undefined;
        this.#learn();
      },
      onEvent: (event) => {
        if (event.event === 'hosts') this.#hosts.take(event.hosts);
        else this.live.value = false;
        this.#changed();
      },
      onClosed: (error) => {
        if (error) this.error.value = error;
        else this.live.value = false;
      },
    });
  }

  get hosts(): FleetHosts {
    return this.#hosts;
  }

  /** Asks how the answers differ, now and each time there are more. */
  compare(): void {
    if (this.#compares) return;
    this.#compares = true;
    this.#askedAt = -1;
    this.#lookForAnswers();
  }

  end(): void {
    this.#closed = true;
    this.#subscription.end();
    if (this.#frame !== undefined) cancelAnimationFrame(this.#frame);
    clearTimeout(this.#pause);
  }

  #learn(): void {
    feed
      .ask('fleetInfo', { runId: this.runId })
      .then(({ run }) => void (this.facts.value = run))
      .catch(() => undefined);
  }

  #changed(): void {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = undefined;
      this.version.value += 1;
      this.#lookForAnswers();
    });
  }

  /** Asks for the answers when more hosts have ended, and not again before the last ones are old enough. */
  #lookForAnswers(): void {
    if (this.#asking || this.#closed || this.#hosts.ended === this.#askedAt) return;
    this.#askedAt = this.#hosts.ended;
    this.#asking = true;
    const began = performance.now();
    void this.#askAnswers().finally(() => {
      this.#pause = setTimeout(
        () => {
          this.#asking = false;
          this.#lookForAnswers();
        },
        Math.max(PERIOD, SHARE * (performance.now() - began)),
      );
    });
  }

  async #askAnswers(): Promise<void> {
    const { runId } = this;
    try {
      this.answers.value = await feed.ask('groups', { runId });
      if (this.#compares && this.answers.value.groups.length > 1)
        this.differences.value = await feed.ask('diff', { runId });
    } catch (error) {
      if (!(error instanceof FeedError)) return;
      if (error.code === 'LOST') {
        // They are asked for again with the next link.
        this.#askedAt = -1;
        await feed.link.until(({ state }) => state === 'open');
      } else this.error.value = error;
    }
  }
}

/** Proxies with names and faults that change while they run. */
import * as v from 'valibot';
import { formatAddress, parseAddress, type Address } from '../address.js';
import { startProxy, type Proxy, type ProxyEvent } from '../proxy/proxy.js';
import { ControlError } from './error.js';
import { faultsOf, readToxic, toxicRequest, type Toxic, type ToxicRequest } from './toxics.js';

const name = v.pipe(v.string(), v.regex(/^[\w.-]{1,100}$/, 'a name has letters, digits, "_", "." and "-" only'));
const address = v.pipe(v.string(), v.maxLength(300));
const seed = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(2 ** 32 - 1));

/** A proxy as a request or a file describes it. */
export const proxyRequest = v.strictObject({
  name,
  listen: address,
  upstream: address,
  enabled: v.optional(v.boolean()),
  /** The seed of its faults. @default that of the command, else a random one */
  seed: v.optional(seed),
  /** Where its reads are recorded; only in files and on command lines. */
  record: v.optional(v.string()),
  toxics: v.optional(v.array(toxicRequest)),
});

/** What may change of a proxy. */
export const proxyChange = v.strictObject({
  name: v.optional(name),
  listen: v.optional(address),
  upstream: v.optional(address),
  enabled: v.optional(v.boolean()),
});

export type ProxyRequest = v.InferOutput<typeof proxyRequest>;
export type ProxyChange = v.InferOutput<typeof proxyChange>;

/** A proxy as answers describe it. */
export interface ProxyState {
  readonly name: string;
  readonly listen: string;
  readonly upstream: string;
  readonly enabled: boolean;
  readonly seed: number;
  readonly toxics: readonly Toxic[];
}

export interface ProxiesOptions {
  /** Most proxies. @default 100 */
  readonly proxies?: number | undefined;
  /** Most toxics of a proxy. @default 100 */
  readonly toxics?: number | undefined;
  /** Most connections of a proxy at once. @default 1024 */
  readonly connections?: number | undefined;
  /** The seed of proxies that name none. @default a random one each */
  readonly seed?: number | undefined;
  readonly onEvent: (proxy: string, event: ProxyEvent) => void;
}

export const PROXY_LIMITS = { proxies: 100, toxics: 100, connections: 1024 } as const;

interface Named {
  readonly name: string;
  readonly seed: number;
  listen: Address;
  upstream: Address;
  toxics: readonly Toxic[];
  running: Proxy | undefined;
}

/** All changes happen one after the other, in the order in which they were asked for. */
export class Proxies {
  readonly #options: ProxiesOptions;
  readonly #proxies = new Map<string, Named>();
  #queue: Promise<unknown> = Promise.resolve();

  constructor(options: ProxiesOptions) {
    this.#options = options;
  }

  list(): ProxyState[] {
    return [...this.#proxies.values()].map(state);
  }

  /** @throws ControlError if there is none */
  get(proxy: string): ProxyState {
    return state(this.#named(proxy));
  }

  /** @throws ControlError if it cannot be added or does not start */
  add(request: ProxyRequest): Promise<ProxyState> {
    return this.#inTurn(() => this.#add(request));
  }

  /** Adds proxies, or replaces those that listen elsewhere or have another upstream. */
  populate(requests: readonly ProxyRequest[]): Promise<ProxyState[]> {
    return this.#inTurn(async () => {
      const states: ProxyState[] = [];
      for (const request of requests) {
        const there = this.#proxies.get(request.name);
        const same =
          there !== undefined &&
          formatAddress(there.listen) === formatAddress(addressOf('listen', request.listen)) &&
          formatAddress(there.upstream) === formatAddress(addressOf('upstream', request.upstream));
        if (there && !same) await this.#remove(there);
        states.push(same ? state(there) : await this.#add(request));
      }
      return states;
    });
  }

  change(proxy: string, { listen, upstream, enabled, name: other }: ProxyChange): Promise<ProxyState> {
    return this.#inTurn(async () => {
      const named = this.#named(proxy);
      if (other !== undefined && other !== proxy) throw new ControlError(400, 'the name of a proxy does not change');
      const [before, wasRunning] = [state(named), named.running !== undefined];
      const nextListen = listen === undefined ? named.listen : addressOf('listen', listen);
      const nextUpstream = upstream === undefined ? named.upstream : addressOf('upstream', upstream);
      const moved = before.listen !== formatAddress(nextListen) || before.upstream !== formatAddress(nextUpstream);
      const shallRun = enabled ?? wasRunning;
      if (wasRunning && (moved || !shallRun)) await stop(named);
      named.listen = nextListen;
      named.upstream = nextUpstream;
      if (shallRun && !named.running) await this.#start(named);
      return state(named);
    });
  }

  remove(proxy: string): Promise<void> {
    return this.#inTurn(() => this.#remove(this.#named(proxy)));
  }

  /** Starts all proxies and takes all faults away. */
  reset(): Promise<void> {
    return this.#inTurn(async () => {
      for (const named of this.#proxies.values()) {
        this.#setToxics(named, []);
        if (!named.running) await this.#start(named);
      }
    });
  }

  /** @throws ControlError if the proxy has none of this name */
  toxic(proxy: string, toxic: string): Toxic {
    const found = this.#named(proxy).toxics.find((each) => each.name === toxic);
    if (!found) throw new ControlError(404, 'toxic not found');
    return found;
  }

  addToxic(proxy: string, request: ToxicRequest): Promise<Toxic> {
    return this.#inTurn(() => {
      const named = this.#named(proxy);
      const toxic = readToxic(request);
      if (named.toxics.some((each) => each.name === toxic.name)) throw new ControlError(409, 'toxic already exists');
      const most = this.#options.toxics ?? PROXY_LIMITS.toxics;
      if (named.toxics.length >= most) throw new ControlError(400, `a proxy has at most ${most} toxics`);
      this.#setToxics(named, [...named.toxics, toxic]);
      return toxic;
    });
  }

  changeToxic(proxy: string, toxic: string, request: ToxicRequest): Promise<Toxic> {
    return this.#inTurn(() => {
      const before = this.toxic(proxy, toxic);
      const after = readToxic(request, before);
      const named = this.#named(proxy);
      this.#setToxics(
        named,
        named.toxics.map((each) => (each === before ? after : each)),
      );
      return after;
    });
  }

  removeToxic(proxy: string, toxic: string): Promise<void> {
    return this.#inTurn(() => {
      const found = this.toxic(proxy, toxic);
      const named = this.#named(proxy);
      this.#setToxics(
        named,
        named.toxics.filter((each) => each !== found),
      );
    });
  }

  close(): Promise<void> {
    return this.#inTurn(async () => {
      for (const named of this.#proxies.values()) await this.#remove(named);
    });
  }

  async #add(request: ProxyRequest): Promise<ProxyState> {
    if (this.#proxies.has(request.name)) throw new ControlError(409, 'proxy already exists');
    const most = this.#options.proxies ?? PROXY_LIMITS.proxies;
    if (this.#proxies.size >= most) throw new ControlError(400, `there are at most ${most} proxies`);
    const toxics: Toxic[] = [];
    for (const each of request.toxics ?? []) {
      const toxic = readToxic(each);
      if (toxics.some((other) => other.name === toxic.name)) throw new ControlError(409, 'toxic already exists');
      toxics.push(toxic);
    }
    const named: Named = {
      name: request.name,
      seed: request.seed ?? this.#options.seed ?? Math.floor(Math.random() * 2 ** 32),
      listen: addressOf('listen', request.listen),
      upstream: addressOf('upstream', request.upstream),
      toxics,
      running: undefined,
    };
    if (request.enabled !== false) await this.#start(named);
    this.#proxies.set(named.name, named);
    return state(named);
  }

  async #remove(named: Named): Promise<void> {
    this.#proxies.delete(named.name);
    await stop(named);
  }

  async #start(named: Named): Promise<void> {
    try {
      named.running = await startProxy({
        listen: named.listen,
        to: named.upstream,
        faults: faultsOf(named.toxics),
        seed: named.seed,
        maxConnections: this.#options.connections ?? PROXY_LIMITS.connections,
        onEvent: (event) => this.#options.onEvent(named.name, event),
      });
      named.listen = named.running.address; // a free port is now a certain one
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      throw new ControlError(500, `${named.name} cannot listen on ${formatAddress(named.listen)}: ${code ?? message}`);
    }
  }

  #setToxics(named: Named, toxics: readonly Toxic[]): void {
    named.toxics = toxics;
    named.running?.setFaults(faultsOf(toxics));
  }

  #named(proxy: string): Named {
    const named = this.#proxies.get(proxy);
    if (!named) throw new ControlError(404, 'proxy not found');
    return named;
  }

  #inTurn<T>(act: () => T | Promise<T>): Promise<T> {
    const done = this.#queue.then(act);
    this.#queue = done.catch(() => {});
    return done;
  }
}

async function stop(named: Named): Promise<void> {
  const { running } = named;
  named.running = undefined;
  await running?.close();
}

function state({ name: own, listen, upstream, running, seed: random, toxics }: Named): ProxyState {
  return {
    name: own,
    listen: formatAddress(listen),
    upstream: formatAddress(upstream),
    enabled: running !== undefined,
    seed: random,
    toxics,
  };
}

function addressOf(field: string, text: string): Address {
  try {
    return parseAddress(text);
  } catch (error) {
    throw new ControlError(400, `${field}: ${(error as Error).message}`);
  }
}

/** One open page: runs its requests one after the other, and owns the proxies it has started. */
import type { Server } from '@sendall/socketserver';
import { formatAddress, type Address } from '../address.js';
import { experiment } from '../experiment/experiment.js';
import { faults, type FaultOptions } from '../faults/index.js';
import { Inspector } from '../proxy/inspector.js';
import { phenomena } from '../phenomena/index.js';
import { startProxy, type Proxy, type ProxyEvent } from '../proxy/proxy.js';
import { inspectedJson } from '../render/inspected.js';
import { shownJson, traceJson, type TraceJson } from '../render/shown-json.js';
import { demoTraffic, serveDemo } from './demo.js';
import { readPageRequest, type LabMessage, type PageRequest, type View } from './protocol.js';
import { experimentOptions, inspection, target } from './requests.js';

const LOOPBACK = { host: '127.0.0.1', port: 0 };
/** Most requests of one page that wait for their turn. */
const MOST_WAITING = 64;

/** The session of one page. Its proxies and experiments end with it. */
export class PageSession {
  readonly #send: (message: LabMessage) => boolean;
  readonly #views = new Map<View, { proxy?: Proxy; demo?: { server: Server; address: Address } }>();
  #queue: Promise<void> = Promise.resolve();
  #waiting = 0;
  #closed = false;

  /** @param send returns false when the page does not keep up; live events are then skipped */
  constructor(send: (message: LabMessage) => boolean) {
    this.#send = send;
  }

  /** Serves requests in order; a request that fails gets an error as its answer. */
  request(json: string): void {
    const read = readPageRequest(json);
    if ('problem' in read) this.refuse(read.problem, read.id);
    else if (this.#waiting >= MOST_WAITING)
      this.refuse(`${MOST_WAITING} requests are waiting already`, read.message.id);
    else void this.#enqueue(read.message);
  }

  refuse(problem: string, id = 0): void {
    this.#send({ type: 'error', id, message: problem });
  }

  async #enqueue(request: PageRequest): Promise<void> {
    this.#waiting++;
    this.#queue = this.#queue.then(async () => {
      try {
        if (!this.#closed) await this.#serve(request);
      } catch (error) {
        this.refuse(error instanceof Error ? error.message : String(error), request.id);
      } finally {
        this.#waiting--;
      }
    });
    await this.#queue;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#queue;
    for (const view of this.#views.keys()) await this.#stop(view);
  }

  async #serve(request: PageRequest): Promise<void> {
    const { id } = request;
    switch (request.type) {
      case 'show': {
        const phenomenon = phenomena.find((each) => each.name === request.name)!;
        const shown = await phenomenon.show({});
        this.#send({
          type: 'shown',
          id,
          en: shownJson(phenomenon, shown, 'en'),
          zh: shownJson(phenomenon, shown, 'zh'),
        });
        return;
      }
      case 'experiment':
        this.#send({ type: 'experiment', id, ...(await this.#experiment(experimentOptions(request), request.faults)) });
        return;
      case 'inspect': {
        const begun = performance.now();
        const { to, ...framings } = inspection(request);
        const inspector = new Inspector(framings, (event) => {
          this.#send({ type: 'inspected', ...inspectedJson(event) });
        });
        const proxy = await this.#start('inspect', to, {}, 1, (event) =>
          inspector.see(event, performance.now() - begun),
        );
        this.#send({ type: 'started', id, address: proxy });
        return;
      }
      case 'chaos': {
        const begun = performance.now();
        const proxy = await this.#start('chaos', target(request.to), request.faults, request.seed, (event) => {
          const atMs = performance.now() - begun;
          if (event.type === 'read') {
            const { type, bytes, ...where } = event;
            this.#send({ type: 'chaos', event: type, atMs, length: bytes.length, ...where });
          } else {
            const { type, ...what } = event;
            this.#send({ type: 'chaos', event: type, atMs, ...what } as LabMessage);
          }
        });
        this.#send({
          type: 'started',
          id,
          address: proxy,
          faults: faults(request.faults).map((fault) => fault.description),
        });
        return;
      }
      case 'traffic': {
        const { proxy, demo } = this.#views.get(request.view) ?? {};
        if (!proxy || !demo) throw new Error('start with the demonstration server first');
        this.#send({ type: 'traffic', id, ...(await demoTraffic(proxy.address)) });
        return;
      }
      case 'stop':
        await this.#stop(request.view);
        this.#send({ type: 'stopped', id });
    }
  }

  async #experiment(
    options: Parameters<typeof experiment>[0],
    wanted: FaultOptions,
  ): Promise<TraceJson & { error?: string }> {
    const chosen = faults(wanted);
    let proxy: Proxy | undefined;
    const via = async (port: number) => {
      proxy = await startProxy({ listen: LOOPBACK, to: { host: LOOPBACK.host, port }, faults: chosen });
      return 'port' in proxy.address ? proxy.address.port : 0;
    };
    try {
      const { trace, error } = await experiment({ ...options, ...(chosen.length > 0 && { via }) });
      return { ...traceJson(trace), ...(error !== undefined && { error }) };
    } finally {
      await proxy?.close();
    }
  }

  async #start(
    view: View,
    to: Address | 'demo',
    options: FaultOptions,
    seed: number,
    onEvent: (event: ProxyEvent) => void,
  ): Promise<string> {
    await this.#stop(view);
    const demo = to === 'demo' ? await serveDemo() : undefined;
    this.#views.set(view, { ...(demo && { demo }) }); // so that it ends also when the proxy cannot start
    const target = to === 'demo' ? demo!.address : to;
    const proxy = await startProxy({
      listen: LOOPBACK,
      to: target,
      faults: faults(options),
      seed,
      maxConnections: 64,
      onEvent,
    });
    this.#views.set(view, { proxy, ...(demo && { demo }) });
    return formatAddress(proxy.address);
  }

  async #stop(view: View): Promise<void> {
    const { proxy, demo } = this.#views.get(view) ?? {};
    this.#views.delete(view);
    await proxy?.close();
    await demo?.server.shutdown({ timeout: 0 });
  }
}

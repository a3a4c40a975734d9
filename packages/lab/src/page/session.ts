import type { Server } from '@sendall/socketserver';
import { formatAddress, type Address } from '../address.js';
import { experiment } from '../experiment.js';
import { faults, type FaultOptions } from '../faults/index.js';
import { Inspector } from '../inspect.js';
import { phenomena } from '../phenomena/index.js';
import { startProxy, type Proxy, type ProxyEvent } from '../proxy.js';
import { describeRead, inspectedJson } from '../render/inspected.js';
import { shownJson, traceJson } from '../shown-json.js';
import { demoTraffic, serveDemo } from './demo.js';
import { readRequest, type PageRequest, type View } from './requests.js';

const loopback = { host: '127.0.0.1', port: 0 };

/**
 * One open page: runs what it asks for, one experiment after the other, and owns the proxies that it has started. All of it
 * ends with the page.
 */
export class PageSession {
  readonly #send: (message: object) => boolean;
  readonly #views = new Map<View, { proxy?: Proxy; demo?: { server: Server; address: Address } }>();
  #queue: Promise<void> = Promise.resolve();
  #closed = false;

  /** @param send false: the page does not keep up, live events are left out */
  constructor(send: (message: object) => boolean) {
    this.#send = send;
  }

  /** Requests are served in their order. */
  request(text: string): void {
    this.#queue = this.#queue.then(async () => {
      let id = 0;
      try {
        const request = readRequest(text);
        ({ id } = request);
        if (!this.#closed) await this.#serve(request);
      } catch (error) {
        this.#send({ type: 'error', id, message: error instanceof Error ? error.message : String(error) });
      }
    });
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
        this.#send({ type: 'experiment', id, ...(await this.#experiment(request.options, request.faults)) });
        return;
      case 'inspect': {
        const begun = performance.now();
        const inspector = new Inspector(request, (event) => {
          const described = event.event === 'read' ? { says: describeRead(event) } : {};
          this.#send({ type: 'inspected', ...inspectedJson(event), ...described });
        });
        const proxy = await this.#start('inspect', request.to, {}, 1, (event) =>
          inspector.see(event, performance.now() - begun),
        );
        this.#send({ type: 'started', id, address: proxy });
        return;
      }
      case 'chaos': {
        const begun = performance.now();
        const proxy = await this.#start('chaos', request.to, request.faults, request.seed, (event) => {
          if (event.type === 'read') {
            const { bytes, ...where } = event;
            this.#send({
              ...where,
              type: 'chaos',
              event: 'read',
              length: bytes.length,
              atMs: performance.now() - begun,
            });
          } else this.#send({ ...event, type: 'chaos', event: event.type, atMs: performance.now() - begun });
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

  async #experiment(options: Parameters<typeof experiment>[0], options_: FaultOptions): Promise<object> {
    const chosen = faults(options_);
    let proxy: Proxy | undefined;
    const via = async (port: number) => {
      proxy = await startProxy({ listen: loopback, to: { host: loopback.host, port }, faults: chosen });
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
      listen: loopback,
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

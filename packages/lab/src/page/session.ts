/** One open page: runs its requests one after the other, and owns the proxies it has started. */
import type { Server } from '@sendall/socketserver';
import { formatAddress, type Address } from '../address.js';
import { experiment } from '../experiment/experiment.js';
import { describeFaults, directedFaults, type DirectedFaultOptions } from '../faults/index.js';
import { Inspector } from '../proxy/inspector.js';
import { Pairs } from '../proxy/pairs.js';
import { text } from '../lang.js';
import { phenomena, type Shown } from '../phenomena/index.js';
import { startProxy, type Proxy, type ProxyEvent } from '../proxy/proxy.js';
import { inspectedJson } from '../render/inspected.js';
import { pairedJson } from '../render/paired.js';
import { shownJson, traceJson, type TraceJson } from '../render/shown-json.js';
import { ChaosEvents } from './chaos-events.js';
import { shownPcap } from '../render/shown-pcap.js';
import { demoTraffic, serveDemo } from './demo.js';
import { ProxyCapture } from './proxy-capture.js';
import { readPageRequest, type LabMessage, type PageRequest, type View } from './protocol.js';
import { experimentOptions, inspection, target } from './requests.js';

const LOOPBACK = { host: '127.0.0.1', port: 0 };
/** Most requests of one page that wait for their turn. */
const MOST_WAITING = 64;

/** The proxy of a view, and the lab's own server behind it. */
interface Watched {
  readonly proxy?: Proxy;
  readonly demo?: { readonly server: Server; readonly address: Address };
  /** The demonstration's traffic is under way. */
  isSending: boolean;
}

/** The session of one page. Its proxies and experiments end with it. */
export class PageSession {
  readonly #send: (message: LabMessage) => boolean;
  readonly #views = new Map<View, Watched>();
  /** The last run of each phenomenon, and of the workbench. */
  readonly #runs = new Map<string, Pick<Shown, 'observations'>>();
  /** What passed through the last proxy of each view. */
  readonly #captures = new Map<string, ProxyCapture>();
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
        const shown = await phenomenon.show({
          onProgress: (step) => void this.#send({ type: 'progress', id, ...step }),
        });
        this.#runs.set(request.name, shown);
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
      case 'pcap': {
        const capture = this.#captures.get(request.name);
        if (capture) {
          const { isCut } = capture;
          const base64 = capture.bytes.toString('base64');
          this.#send({ type: 'pcap', id, base64, segmentsSeen: false, ...(isCut && { cut: isCut }) });
          return;
        }
        const run = this.#runs.get(request.name);
        if (!run) throw new Error(`${request.name} has not run on this page`);
        const { bytes, segmentsSeen } = shownPcap([run]);
        this.#send({ type: 'pcap', id, base64: bytes.toString('base64'), segmentsSeen });
        return;
      }
      case 'inspect': {
        const begun = performance.now();
        const { to, ...framings } = inspection(request);
        const pairs = request.pairs
          ? new Pairs(framings, {}, (event) => void this.#send({ type: 'inspected', ...pairedJson(event) }))
          : undefined;
        const inspector = new Inspector(framings, (event) => {
          this.#send({ type: 'inspected', ...inspectedJson(event) });
          pairs?.see(event);
        });
        const proxy = await this.#start('inspect', to, {}, 1, (event) =>
          inspector.see(event, performance.now() - begun),
        );
        this.#send({ type: 'started', id, address: proxy });
        return;
      }
      case 'chaos': {
        const events = new ChaosEvents((event) => void this.#send(event));
        const proxy = await this.#start('chaos', target(request.to), request.faults, request.seed, (event) =>
          events.see(event),
        );
        this.#send({
          type: 'started',
          id,
          address: proxy,
          faults: descriptions(request.faults),
        });
        return;
      }
      case 'change': {
        const { proxy } = this.#views.get('chaos') ?? {};
        if (!proxy) throw new Error('start the proxy first');
        proxy.setFaults(directedFaults(request.faults));
        this.#send({ type: 'changed', id, faults: descriptions(request.faults) });
        return;
      }
      case 'traffic': {
        const view = this.#views.get(request.view);
        if (!view?.proxy || !view.demo) throw new Error('start with the demonstration server first');
        if (view.isSending) throw new Error('traffic is on its way already');
        view.isSending = true;
        // Not awaited: a fault may hold it back for long, and the proxy's end ends it.
        void demoTraffic(view.proxy.address)
          .then(
            (traffic) => void this.#send({ type: 'traffic', id, ...traffic }),
            (error: unknown) => this.refuse(error instanceof Error ? error.message : String(error), id),
          )
          .finally(() => (view.isSending = false));
        return;
      }
      case 'stop':
        await this.#stop(request.view);
        this.#send({ type: 'stopped', id });
    }
  }

  async #experiment(
    options: Parameters<typeof experiment>[0],
    wanted: DirectedFaultOptions,
  ): Promise<TraceJson & { error?: string }> {
    const chosen = directedFaults(wanted);
    let proxy: Proxy | undefined;
    const via = async (port: number) => {
      proxy = await startProxy({ listen: LOOPBACK, to: { host: LOOPBACK.host, port }, faults: chosen });
      return 'port' in proxy.address ? proxy.address.port : 0;
    };
    try {
      const { trace, error } = await experiment({
        ...options,
        ...(chosen.up.length + chosen.down.length > 0 && { via }),
      });
      this.#runs.set('experiment', { observations: [{ name: 'experiment', title: text('', ''), trace }] });
      return { ...traceJson(trace), ...(error !== undefined && { error }) };
    } finally {
      await proxy?.close();
    }
  }

  async #start(
    view: View,
    to: Address | 'demo',
    options: DirectedFaultOptions,
    seed: number,
    onEvent: (event: ProxyEvent) => void,
  ): Promise<string> {
    await this.#stop(view);
    const demo = to === 'demo' ? await serveDemo() : undefined;
    this.#views.set(view, { isSending: false, ...(demo && { demo }) }); // so that it ends also when the proxy cannot start
    const target = to === 'demo' ? demo!.address : to;
    const capture = new ProxyCapture(formatAddress(target));
    this.#captures.set(view, capture);
    const proxy = await startProxy({
      listen: LOOPBACK,
      to: target,
      faults: directedFaults(options),
      seed,
      maxConnections: 64,
      onEvent(event) {
        capture.see(event);
        onEvent(event);
      },
    });
    this.#views.set(view, { proxy, isSending: false, ...(demo && { demo }) });
    return formatAddress(proxy.address);
  }

  async #stop(view: View): Promise<void> {
    const { proxy, demo } = this.#views.get(view) ?? {};
    this.#views.delete(view);
    await proxy?.close();
    await demo?.server.shutdown({ timeout: 0 });
  }
}

function descriptions(options: DirectedFaultOptions) {
  return describeFaults(directedFaults(options)).map(({ description }) => description);
}

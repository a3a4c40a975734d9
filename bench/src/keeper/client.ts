/** A bare agent for benchmarks and soak runs: opens runs at a keeper and receives its messages. */
import { ensureKeeper, type KeeperLink, type KeeperOptions } from '../../../packages/sendall/dist/keeper/door/door.js';
import { resolveHome, type Home } from '../../../packages/sendall/dist/home.js';
import { encodeSpec } from '../../../packages/sendall/dist/protocol/codec.js';
import { newRunId } from '../../../packages/sendall/dist/protocol/run-id.js';
import type { Message, Spec } from '../../../packages/sendall/dist/protocol/messages.js';

const PRINCIPAL = 'bench';

type Listener = (message: Message) => void;
/** Receivers of the keeper's messages, by alias. */
type Listeners = Map<number, Listener>;

export class Client {
  #next = 1;
  readonly #listeners: Listeners;
  readonly home: Home;
  readonly link: KeeperLink;

  private constructor(home: Home, link: KeeperLink, listeners: Listeners) {
    this.home = home;
    this.link = link;
    this.#listeners = listeners;
  }

  /** Connects to a folder's keeper, starting it if needed. */
  static async open(folder: string, options?: KeeperOptions) {
    const home = resolveHome({ SENDALL_HOME: folder });
    const listeners: Listeners = new Map();
    const link = await ensureKeeper(home, {
      ...options,
      onMessage: (message) => listeners.get(message.alias)?.(message),
    });
    return new Client(home, link, listeners);
  }

  run(
    spec: Partial<Spec>,
    listener: Listener,
    { runId = newRunId(), notAfterMs = Date.now() + 3_600_000 }: { runId?: Uint8Array; notAfterMs?: number } = {},
  ) {
    const alias = this.#next++;
    this.#listeners.set(alias, listener);
    this.link.send({
      type: 'OPEN',
      alias,
      runId,
      spec: encodeSpec({ verb: 'exec', argv: [], env: [], tags: [], secrets: [], stdin: false, ...spec }),
      notAfterMs,
      attach: [],
      secrets: [],
      principal: PRINCIPAL,
    });
    return { alias, runId };
  }

  attach(runId: Uint8Array, listener: Listener) {
    const alias = this.#next++;
    this.#listeners.set(alias, listener);
    this.link.send({ type: 'ATTACH', alias, runId, principal: PRINCIPAL, from: [], mode: 'control' });
    return alias;
  }

  detach(alias: number) {
    this.link.send({ type: 'DETACH', alias });
    this.#listeners.delete(alias);
  }

  ask(what: string): Promise<Record<string, unknown>> {
    const opId = this.#next++;
    return new Promise((resolve) => {
      this.#listeners.set(0, (message) => {
        if (message.type === 'ANSWER' && message.opId === opId) resolve(JSON.parse(message.body ?? '{}'));
      });
      this.link.send({ type: 'ASK', alias: 0, opId, what });
    });
  }

  /** Ends the keeper and all its commands. */
  async end() {
    await this.ask('end-runs');
    this.link.send({ type: 'ASK', alias: 0, opId: this.#next++, what: 'drain' });
    await this.link.closed;
  }
}

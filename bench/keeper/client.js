// @ts-check
/** A bare agent for benchmarks and soak runs: opens runs at a keeper and hears what becomes of them. */
import { ensureKeeper } from '../../packages/sendall/dist/keeper/door/door.js';
import { resolveHome } from '../../packages/sendall/dist/home.js';
import { encodeSpec } from '../../packages/sendall/dist/protocol/codec.js';
import { newRunId } from '../../packages/sendall/dist/protocol/run-id.js';

/** @typedef {import('../../packages/sendall/dist/protocol/messages.js').Message} Message */
/** @typedef {import('../../packages/sendall/dist/protocol/messages.js').Spec} Spec */
/** @typedef {import('../../packages/sendall/dist/keeper/door/door.js').KeeperOptions} KeeperOptions */

const PRINCIPAL = 'bench';

export class Client {
  #next = 1;
  /** @type {Map<number, (message: Message) => void>} */
  #listeners = new Map();

  /** @param {import('../../packages/sendall/dist/home.js').Home} home */
  constructor(home) {
    this.home = home;
  }

  /**
   * Connects to the keeper of a folder, or starts it.
   * @param {string} folder
   * @param {KeeperOptions} [options]
   */
  static async open(folder, options) {
    const client = new Client(resolveHome({ SENDALL_HOME: folder }));
    client.link = await ensureKeeper(client.home, {
      ...options,
      onMessage: (message) => client.#listeners.get(message.alias)?.(message),
    });
    return client;
  }

  /** @type {import('../../packages/sendall/dist/keeper/door/door.js').KeeperLink} */
  // @ts-ignore set by open()
  link;

  /**
   * @param {Partial<Spec>} spec
   * @param {(message: Message) => void} listener
   * @param {{ runId?: Uint8Array, notAfterMs?: number }} [more]
   */
  run(spec, listener, { runId = newRunId(), notAfterMs = Date.now() + 3_600_000 } = {}) {
    const alias = this.#next++;
    this.#listeners.set(alias, listener);
    this.link.send({
      type: 'OPEN',
      alias,
      runId,
      spec: encodeSpec({ verb: 'exec', argv: [], env: [], tags: [], stdin: false, ...spec }),
      notAfterMs,
      attach: [],
      principal: PRINCIPAL,
    });
    return { alias, runId };
  }

  /**
   * @param {Uint8Array} runId
   * @param {(message: Message) => void} listener
   */
  attach(runId, listener) {
    const alias = this.#next++;
    this.#listeners.set(alias, listener);
    this.link.send({ type: 'ATTACH', alias, runId, principal: PRINCIPAL, from: [], mode: 'control' });
    return alias;
  }

  /** @param {number} alias */
  detach(alias) {
    this.link.send({ type: 'DETACH', alias });
    this.#listeners.delete(alias);
  }

  /**
   * @param {string} what
   * @returns {Promise<Record<string, any>>}
   */
  ask(what) {
    const opId = this.#next++;
    return new Promise((resolve) => {
      this.#listeners.set(0, (message) => {
        if (message.type === 'ANSWER' && message.opId === opId) resolve(JSON.parse(message.body ?? '{}'));
      });
      this.link.send({ type: 'ASK', alias: 0, opId, what });
    });
  }

  /** Ends the keeper and everything it runs. */
  async end() {
    await this.ask('end-runs');
    this.link.send({ type: 'ASK', alias: 0, opId: this.#next++, what: 'drain' });
    await this.link.closed;
  }
}

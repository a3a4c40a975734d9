/** The events of a proxy with faults, as messages for the page: each with its time, and bytes with their place. */
import type { ProxyEvent } from '../proxy/proxy.js';
import { pieceJson } from '../render/piece-json.js';
import type { LabEvent } from './protocol.js';

type ChaosEvent = Extract<LabEvent, { type: 'chaos' }>;

export class ChaosEvents {
  readonly #send: (event: ChaosEvent) => void;
  readonly #begunAt = performance.now();
  /** Bytes seen so far, by connection, direction, and reads or writes. */
  readonly #offsets = new Map<string, number>();

  constructor(send: (event: ChaosEvent) => void) {
    this.#send = send;
  }

  see(event: ProxyEvent): void {
    const head = { type: 'chaos', atMs: performance.now() - this.#begunAt } as const;
    switch (event.type) {
      case 'read':
      case 'write': {
        const { type, bytes, connection, direction } = event;
        const key = `${connection} ${direction} ${type}`;
        const offset = this.#offsets.get(key) ?? 0;
        this.#offsets.set(key, offset + bytes.length);
        this.#send({ ...head, event: type, connection, direction, ...pieceJson(head.atMs, offset, bytes) });
        return;
      }
      case 'close':
        for (const direction of ['up', 'down'])
          for (const type of ['read', 'write']) this.#offsets.delete(`${event.connection} ${direction} ${type}`);
    }
    const { type, ...rest } = event;
    this.#send({ ...head, event: type, ...rest } as ChaosEvent);
  }
}

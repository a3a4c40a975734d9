/** What passed through a proxy of the page, as a capture in memory. */
import { pcapHeader } from '../capture/pcap-file.js';
import { Packets } from '../proxy/packets.js';
import type { ProxyEvent } from '../proxy/proxy.js';

/** Bytes of a capture; what comes later is left out. */
const LARGEST = 8 * 1024 * 1024;

export class ProxyCapture {
  readonly #begunAt = performance.now();
  readonly #packets: Packets;
  readonly #records: Buffer[] = [pcapHeader()];
  #length = 0;
  #isCut = false;

  constructor(to: string | undefined) {
    const began = performance.timeOrigin + this.#begunAt;
    this.#packets = new Packets(() => began, to);
  }

  see(event: ProxyEvent): void {
    if (this.#isCut) return;
    for (const record of this.#packets.see(event, performance.now() - this.#begunAt)) {
      this.#isCut ||= this.#length + record.length > LARGEST;
      if (this.#isCut) return;
      this.#length += record.length;
      this.#records.push(record);
    }
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#records);
  }

  /** More passed than the capture holds. */
  get isCut(): boolean {
    return this.#isCut;
  }
}

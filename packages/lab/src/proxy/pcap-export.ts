/** Writes the events of a proxy, a record or a capture into a file that other programs read. */
import { pcapHeader } from '../capture/pcap-file.js';
import { Packets } from './packets.js';
import type { ProxyEvent } from './proxy.js';
import { WholeFile } from './whole-file.js';

/**
 * Each connection gets a handshake, segments with the bytes of its reads, acknowledgements and an end, at the times of
 * the events. Only the bytes and their times were seen; the rest is made up as TCP would have it.
 */
export class PcapExport {
  readonly #file: WholeFile;
  readonly #packets: Packets;

  /**
   * @param begunAt milliseconds since 1970 at time 0 of the events; asked at each event
   * @param to the server, unless the events name it
   * @param onStop called once when the file cannot take more
   * @throws Error when the file cannot be created
   */
  constructor(path: string, begunAt: () => number, to: string | undefined, onStop: (sentence: string) => void) {
    this.#file = new WholeFile(path, pcapHeader(), onStop);
    this.#packets = new Packets(begunAt, to);
  }

  see(event: ProxyEvent, atMs: number): void {
    const records = this.#packets.see(event, atMs);
    if (records.length > 0) this.#file.append(Buffer.concat(records));
  }

  close(): void {
    this.#file.close();
  }
}

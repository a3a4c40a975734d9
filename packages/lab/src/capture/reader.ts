/** Reads a capture of either format as it arrives. */
import { Chunks } from './chunks.js';
import { CAPTURE_LIMITS, CaptureError, type CaptureLimits, type Packet } from './packet.js';
import { isPcap, PcapFile } from './pcap.js';
import { isPcapng, PcapngFile } from './pcapng.js';
import { Skipped } from './skipped.js';

/** Whether a file with these first bytes is a capture. */
export function isCapture(first: Buffer): boolean {
  if (first.length < 4) return false;
  const magic = first.readUInt32BE(0);
  return isPcap(magic) || isPcapng(magic);
}

/** The packets of a capture, chunk by chunk. */
export class CaptureReader {
  readonly skipped = new Skipped();
  readonly #bytes = new Chunks();
  readonly #limits: CaptureLimits;
  readonly #most: number;
  #file: PcapFile | PcapngFile | undefined;
  #count = 0;
  #full = false;

  constructor(limits: CaptureLimits = {}) {
    this.#limits = limits;
    this.#most = limits.packets ?? CAPTURE_LIMITS.packets;
  }

  /**
   * Yields the packets that are whole with this chunk.
   * @throws CaptureError behind the last readable packet, when the file is damaged or has more packets than allowed
   */
  *push(chunk: Uint8Array): Generator<Packet, void, void> {
    this.#bytes.push(chunk);
    if (!this.#file) {
      if (this.#bytes.length < 4) return;
      this.#file = this.#open(this.#bytes.peek(4).readUInt32BE(0));
    }
    for (const packet of this.#file.packets()) {
      if (this.#count === this.#most) {
        this.#full = true;
        throw new CaptureError(`the capture has more than ${this.#most} packets, the limit`, this.#bytes.offset);
      }
      this.#count++;
      yield packet;
    }
  }

  /**
   * The end of the file.
   * @throws CaptureError when it ends inside a packet or a block
   */
  end(): void {
    if (this.#full) return;
    const at = this.#bytes.offset + this.#bytes.length;
    if (at === 0) throw new CaptureError('the capture is empty', 0);
    const unfinished = this.#file ? this.#file.unfinished() : 'its header';
    if (unfinished !== undefined) throw new CaptureError(`the capture ends at byte ${at}, inside ${unfinished}`, at);
  }

  #open(magic: number): PcapFile | PcapngFile {
    if (isPcap(magic)) return new PcapFile(this.#bytes, this.#limits);
    if (isPcapng(magic)) return new PcapngFile(this.#bytes, this.#limits, this.skipped);
    const hex = magic.toString(16).padStart(8, '0');
    throw new CaptureError(`it begins with ${hex}, neither pcap nor pcapng`, 0);
  }
}

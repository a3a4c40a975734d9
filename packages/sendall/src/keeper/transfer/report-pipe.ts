/** The pipe by which our own program reports its files while it runs. */
import { shownText, type RecordOf } from '../../log/records.js';
import { ReportReader, type Reported } from '../../protocol/transfer-report.js';
import type { Native, Watch } from '../system/native.js';

/** Bytes that a record has for names, of the 64 KiB of a line. */
const MAX_NAMED = 32 * 1024;

const chunk = Buffer.allocUnsafe(32 * 1024);

export class ReportPipe {
  readonly #native: Native;
  readonly #reader = new ReportReader();
  #fd: number;
  readonly #watch: Watch;

  /** `fd`: its end for reading. */
  constructor(native: Native, fd: number) {
    this.#native = native;
    this.#fd = fd;
    this.#watch = native.watch(fd, 'read', () => this.#read());
  }

  #read(): void {
    while (this.#fd >= 0 && !this.#reader.isOver) {
      const length = this.#next();
      if (length < 0) return;
      if (length === 0) break;
      this.#reader.take(chunk.subarray(0, length));
    }
    this.close();
  }

  #next(): number {
    try {
      return this.#native.read(this.#fd, chunk);
    } catch {
      return 0;
    }
  }

  /** What was reported until now; undefined: nothing. */
  take(): Reported | undefined {
    if (this.#fd >= 0) this.#read();
    return this.#reader.reported;
  }

  close(): void {
    if (this.#fd < 0) return;
    this.#watch.close();
    this.#native.close(this.#fd);
    this.#fd = -1;
  }
}

/** What the log has of a report. */
export function fileRecord({ files, bytes, same, failed, named }: Reported): RecordOf<'put' | 'get'> {
  const shown: object[] = [];
  let size = 0;
  for (const file of named) {
    const entry = { ...file, path: shownText(Buffer.from(file.path, 'latin1').toString()) };
    size += Buffer.byteLength(JSON.stringify(entry)) + 1;
    if (size > MAX_NAMED) break;
    shown.push(entry);
  }
  return { reported: true, files, bytes, same: same || undefined, failed: failed || undefined, named: shown };
}

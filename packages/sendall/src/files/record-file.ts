/** A private JSON file of named records that people may edit: `{ "NAME": { … }, … }`. */
import { UsageError } from '../errors.js';
import { readPrivateFile, updatePrivateFile } from './private-file.js';
import { stampOf } from './stamp.js';

export type Json = Record<string, unknown>;

export function isRecord(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * The records of one file. Reading costs one `stat` while the file is unchanged, so changes by other processes show
 * immediately. Both methods throw UsageError naming the wrong record when the file is invalid; they leave it unchanged
 * then.
 */
export class RecordFile<T extends object> {
  readonly #path: string;
  readonly #check: (name: string, entry: Json) => T;
  #stamp: string | undefined;
  #records: ReadonlyMap<string, T> = new Map();

  /** `check` turns an entry of the file into a record, or throws. */
  constructor(path: string, check: (name: string, entry: Json) => T) {
    this.#path = path;
    this.#check = check;
  }

  read(): ReadonlyMap<string, T> {
    const stamp = stampOf(this.#path);
    if (stamp === undefined || stamp !== this.#stamp) {
      this.#stamp = undefined;
      this.#records = this.#parse(readPrivateFile(this.#path));
      this.#stamp = stamp;
    }
    return this.#records;
  }

  /** Changes the records. Concurrent processes take turns; when `change` throws, nothing is written. */
  async change(change: (records: Map<string, T>) => void): Promise<void> {
    await updatePrivateFile(this.#path, (text) => {
      const records = this.#parse(text);
      change(records);
      return `${JSON.stringify(Object.fromEntries(records), null, 2)}\n`;
    });
    // File times are coarse: two changes in a row could look like one.
    this.#stamp = undefined;
  }

  #parse(text: string | undefined): Map<string, T> {
    if (text === undefined) return new Map();
    const path = this.#path;
    let document: unknown;
    try {
      document = JSON.parse(text);
    } catch (cause) {
      throw new UsageError(`${path} is not JSON: correct it, or move it away`, { cause });
    }
    if (!isRecord(document)) throw new UsageError(`${path} does not hold records by name: correct it, or move it away`);
    const records = new Map<string, T>();
    for (const [name, entry] of Object.entries(document)) {
      try {
        if (!isRecord(entry)) throw new UsageError('it is not an object');
        records.set(name, this.#check(name, entry));
      } catch (error) {
        const what = `${path}: the entry ${JSON.stringify(name.slice(0, 80))} is wrong`;
        throw new UsageError(`${what}: ${(error as Error).message}`, { cause: error });
      }
    }
    return records;
  }
}

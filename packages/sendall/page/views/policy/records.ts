/** The records of a host's log as the page shows them: what each says of itself, and what else there is to know. */

/** A record as the log has it. */
export interface LogRecord {
  readonly n: number;
  readonly at: string;
  readonly kind: string;
  readonly [key: string]: unknown;
}

export interface RecordRow {
  readonly n: number;
  readonly at: string;
  readonly kind: string;
  readonly run: string | undefined;
  readonly principal: string | undefined;
  /** What was run, asked or noted. */
  readonly words: readonly string[];
  /** Everything else, by name. */
  readonly rest: readonly { readonly name: string; readonly value: string }[];
}

const SHOWN_APART = new Set(['n', 'at', 'kind', 'run', 'principal', 'argv', 'what']);

const textOf = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));

/** A value by its name; of an object each of its own. */
const namedValues = (name: string, value: unknown): { name: string; value: string }[] =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? Object.entries(value).map(([key, each]) => ({ name: `${name} ${key}`, value: textOf(each) }))
    : [{ name, value: textOf(value) }];

/** A record for people. */
export function rowOf(record: LogRecord): RecordRow {
  const { n, at, kind, run, principal, argv, what } = record;
  const words = Array.isArray(argv) ? argv.map(textOf) : what === undefined ? [] : [textOf(what)];
  const rest = Object.entries(record)
    .filter(([name]) => !SHOWN_APART.has(name))
    .flatMap(([name, value]) => namedValues(name, value));
  return {
    n,
    at,
    kind,
    run: run === undefined ? undefined : textOf(run),
    principal: principal === undefined ? undefined : textOf(principal),
    words,
    rest,
  };
}

/** The newest records, in the order of their indexes. */
export class LogTail {
  readonly #most: number;
  #rows: readonly RecordRow[] = [];

  /** `most`: records that are kept; the oldest go first. */
  constructor(most: number) {
    this.#most = most;
  }

  get rows(): readonly RecordRow[] {
    return this.#rows;
  }

  /** The index of the next record; undefined before the first one. */
  get next(): number | undefined {
    const last = this.#rows.at(-1);
    return last && last.n + 1;
  }

  /** Takes what was added. A record that is there already, as after another link, is not taken twice. */
  take(records: readonly LogRecord[]): void {
    const { next = 0 } = this;
    const added = records.filter(({ n }) => n >= next).map(rowOf);
    if (added.length) this.#rows = [...this.#rows, ...added].slice(-this.#most);
  }
}

/**
 * Every way to pull a cable during every kind of command: real agents, keepers, callers and links, through `sendall`.
 */
import { spawn } from 'node:child_process';
import { setTimeout as rest } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { formatRunId, newRunId } from '../../../packages/sendall/dist/protocol/run-id.js';
import { faults, type Fault } from './faults.js';
import { canMount, Place } from './place.js';
import { Reader } from './reader.js';

/** A cell that takes longer counts as hanging. */
const LIMIT = 300_000;
const LOST = 205;

type Job = { words: string[]; slow?: boolean; detached?: boolean; whole: Reader };

/** One job under one fault. */
class Cell {
  #job;
  #fault;
  #place;
  /** The event it waits for. */
  #doing = 'the machines to start';
  #readers: Reader[] = [];
  #notes: string[] = [];
  /** The fault came too late to matter. */
  early = false;

  constructor(job: Job, fault: Fault) {
    this.#job = job;
    this.#fault = fault;
    this.#place = new Place(fault.special ?? {});
  }

  /** Runs it and returns a description. Throws on a fault. */
  async run() {
    let tooLong;
    const hung = new Promise<never>((_, reject) => {
      tooLong = setTimeout(() => reject(new Error(`hangs, waiting for ${this.#doing}; ${this.#come()}`)), LIMIT);
    });
    try {
      const how = await Promise.race([this.#run(), hung]);
      this.#doing = 'the machines to end';
      await Promise.race([this.#place.close(), hung]);
      return how;
    } catch (error) {
      this.end();
      throw error;
    } finally {
      clearTimeout(tooLong);
    }
  }

  async #run() {
    const place = this.#place;
    const { words, slow = false, detached = false, whole } = this.#job;
    const { held = false, options = () => [], before, strike } = this.#fault;
    await place.open();
    before?.(place, whole.length);
    const id = formatRunId(newRunId());
    const again = ['run', 'web1', '-n', '--id', id, ...options(whole.length), '--', ...words];
    this.#doing = 'the run to start';
    if (detached) {
      const { code, said } = await this.#read(['run', '-d', ...again.slice(1)]).ended;
      if (code !== 0) throw new Error(`the start ended with ${code}: ${said}`);
    }
    const first = this.#read(detached ? ['attach', id] : again, { slow, held });
    this.#doing = 'the first bytes';
    await first.begun;
    if (!held) await rest(100);
    this.early = first.over;
    this.#doing = 'the fault';
    const due = await strike({
      place,
      id,
      length: whole.length,
      first,
      again,
      reader: (...words) => this.#read(words, { slow }),
      heldReader: (...words) => this.#read(words, { slow, held: true }),
      until: async (what, is) => {
        this.#doing = what;
        while (!(await is())) await rest(50);
      },
      check: (what, is) => {
        if (!is) throw new Error(`not so: ${what}; ${this.#come()}`);
      },
      note: (what) => void this.#notes.push(what),
      tooLate: () => (this.early = true),
    });
    this.#doing = 'the end';
    const ends = [];
    for (const reader of due ?? [first]) ends.push(await this.#judge(await reader.ended));
    return [...ends, ...this.#notes].join('; ');
  }

  async #judge({ code, said, length, sum }: Reader) {
    const { whole, words } = this.#job;
    const how = `code ${code}, ${length} of ${whole.length} bytes`;
    if (this.#fault.lost && code === 0) this.early = true;
    const lost = this.#fault.lost && !this.early;
    // A lost run's output must be a correct beginning.
    const want = lost ? (await local(words, length).ended).sum : whole.sum;
    if (sum !== want) throw new Error(`${how}, and they are not the right ones\n${said}`);
    if (code !== (lost ? LOST : 0)) throw new Error(`${how}\n${said}`);
    return lost ? `${how}, the first ones in order (${said.replace(/; see what became[^]*/, '').trim()})` : how;
  }

  #read(words: string[], how?: { slow?: boolean; held?: boolean }) {
    const reader = new Reader(this.#place.sendall(...words), how);
    this.#readers.push(reader);
    return reader;
  }

  /** The progress of every reader. */
  #come() {
    const { length } = this.#job.whole;
    return this.#readers.map((each) => `${each.length} of ${length} bytes${each.over ? ', over' : ''}`).join('; ');
  }

  /** Ends all of it immediately. */
  end() {
    this.#place.end();
  }
}

/** The command's output here, without sendall. */
function local([program = '', ...words]: string[], most?: number) {
  return new Reader(spawn(program, words, { stdio: ['ignore', 'pipe', 'pipe'] }), { most });
}

/**
 * Runs all cells, or those whose name contains `only`. Exits with 1 at the first fault; with `all`, also when a fault
 * was skipped or came too late.
 */
export async function matrix(lines: number, { only = '', all = false }: { only?: string; all?: boolean } = {}) {
  const seq = ['seq', String(lines)];
  const tar = ['tar', '-c', '--sort=name', '-C', fileURLToPath(new URL('../../..', import.meta.url)), 'node_modules'];
  const few = ['seq', String(Math.ceil(lines / 20))];
  const jobs = {
    seq: { words: seq },
    tar: { words: tar },
    'slow reader': { words: few, slow: true },
    detached: { words: seq, detached: true },
  };
  const smallDisk = canMount();
  if (!smallDisk) console.log('left out: full disks, as only root may have a small disk of its own');
  let [cells, missed] = [0, smallDisk ? 0 : 1];
  let cell: Cell | undefined;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => {
      cell?.end();
      process.exit(1);
    });
  for (const [job, work] of Object.entries(jobs)) {
    const whole = await local(work.words).ended;
    for (const [fault, what] of Object.entries(faults)) {
      const name = `${job}, ${fault}`;
      if (!name.includes(only) || (what.special?.disk && !smallDisk)) continue;
      cell = new Cell({ ...work, whole }, what);
      try {
        const how = await cell.run();
        console.log(`ok    ${name}: ${how}${cell.early ? ', over before' : ''}`);
      } catch (error) {
        console.log(`WRONG ${name}: ${(error as Error).message}`);
        console.error(`repeat it with: npm run soak -- exact matrix ${lines} --only '${name}'`);
        process.exit(1);
      }
      if (cell.early) missed++;
      else cells++;
      cell = undefined;
    }
  }
  console.log(`result: ${JSON.stringify({ name: 'matrix', cells, lines, wrong: 0 })}`);
  if (all && missed > 0) process.exit(1);
}

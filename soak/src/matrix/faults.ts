/** Faults of a cable, a machine or a process during a command, and actions of other callers. */
import { setTimeout as rest } from 'node:timers/promises';
import type { Place, Special } from './place.js';
import type { Reader } from './reader.js';

const MiB = 1024 * 1024;
const HOUR = 3_600_000;

/** The target of a fault. */
interface Scene {
  place: Place;
  /** The run. */
  id: string;
  /** Bytes of the command's whole output. */
  length: number;
  /** The caller that started the run. */
  first: Reader;
  /** Another caller. */
  reader: (...words: string[]) => Reader;
  /** A caller that reads nothing until released. */
  heldReader: (...words: string[]) => Reader;
  /** The words that started the run: repeating them joins it and takes control. */
  again: string[];
  /** Waits. */
  until: (what: string, is: () => boolean | Promise<boolean>) => Promise<void>;
  /** Throws unless the condition holds. */
  check: (what: string, is: boolean) => void;
  /** Adds a note about the cell. */
  note: (what: string) => void;
  /** The command ended before the fault could matter. */
  tooLate: () => void;
}

export interface Fault {
  /** The host it needs. */
  special?: Special;
  /** Options of the run. */
  options?: (length: number) => string[];
  /** The first caller reads nothing until released, so the run cannot be over then. */
  held?: boolean;
  /** The run must end as lost, with the beginning of its output. */
  lost?: boolean;
  /** Runs before the run starts. */
  before?: (place: Place, length: number) => void;
  /** Strikes. Returns the readers that must get every byte; by default the first caller. */
  strike: (scene: Scene) => Promise<Reader[] | void>;
}

async function sleepFor(pid: number, ms: number) {
  process.kill(pid, 'SIGSTOP');
  await rest(ms);
  process.kill(pid, 'SIGCONT');
}

/** Three quarters of the output: a command whose controller reads nothing waits there. */
const mostOf = (length: number) => Math.floor(length * 0.75);

/** Room for a quarter of the output, and for more than a segment of the spool. */
const littleDisk = (length: number) => Math.max(Math.floor(length / 4), 17 * MiB);

export const faults: Record<string, Fault> = {
  cuts: {
    async strike({ place, first, tooLate }) {
      for (let i = 0; i < 10; i++) {
        place.path.cut();
        await rest(80);
      }
      if (first.over) tooLate();
    },
  },
  // A caller notices it only by its deadline.
  silence: {
    async strike({ place }) {
      place.path.hush();
    },
  },
  stall: { strike: ({ place }) => place.path.stall() },
  'agent SIGKILL': {
    async strike({ place }) {
      process.kill(place.agent, 'SIGKILL');
      await rest(50);
      await place.startAgent();
    },
  },
  'agent SIGSTOP': { strike: ({ place }) => sleepFor(place.agent, 1000) },
  'keeper SIGSTOP': { strike: ({ place }) => sleepFor(place.keeper, 1000) },
  'caller SIGSTOP': { strike: ({ first }) => sleepFor(first.pid, 1000) },
  'warm links SIGSTOP': { strike: ({ place }) => sleepFor(place.warmLinks, 1000) },
  'warm links SIGKILL': {
    async strike({ place }) {
      process.kill(place.warmLinks, 'SIGKILL');
    },
  },
  'caller SIGKILL': {
    async strike({ first, id, reader }) {
      process.kill(first.pid, 'SIGKILL');
      await first.ended;
      // Another caller reads it from the first byte.
      return [reader('attach', id)];
    },
  },
  'keeper SIGKILL': {
    lost: true,
    // The command cannot end earlier, as only little output may wait for its reader.
    options: () => ['--spool', String(MiB)],
    async strike({ place, first, length, until }) {
      await until('a quarter of the output', () => first.length >= length / 4 || first.over);
      process.kill(place.keeper, 'SIGKILL');
    },
  },
  'disk full': {
    special: { disk: true },
    // Bytes that callers have read make room; here they have read next to nothing.
    held: true,
    before: (place, length) => place.ballast(Math.floor(length / 4)),
    async strike({ place, id, first, until, check, note, tooLate }) {
      await until('the command to wait for the disk', async () => (await place.waits(id)) !== undefined);
      if ((await place.waits(id)) === 'over') tooLate();
      else {
        check('the disk is full', place.roomOnDisk === 0);
        // Longer than the keeper's pause between two tries.
        await rest(1500);
        check('the command waits', (await place.waits(id)) === 'stdout' && place.roomOnDisk === 0);
        note('the command waited for room');
      }
      place.dropBallast();
      first.letGo();
    },
  },
  'disk stays full': {
    special: { disk: true },
    before: (place, length) => place.ballast(littleDisk(length)),
    async strike({ length, first, note, tooLate }) {
      if (length <= littleDisk(length)) tooLate();
      await first.ended;
      note(`no more than ${littleDisk(length)} bytes had room`);
    },
  },
  'clock jumps': {
    special: { clock: true },
    async strike({ place, first, tooLate }) {
      for (const ms of [20 * HOUR, -20 * 24 * HOUR, 2 * HOUR, 0]) {
        place.moveClock(ms);
        await rest(150);
      }
      if (first.over) tooLate();
    },
  },
  'second observes': {
    held: true,
    // Output up to this size is kept for late readers.
    options: (length) => ['--spool', String(length + 64 * MiB)],
    async strike({ first, id, heldReader, note }) {
      const second = heldReader('attach', '--observe', id);
      await second.begun;
      first.letGo();
      // An observer that reads nothing must not block the others.
      await first.ended;
      note(`the second had read ${second.length} bytes when the first had all`);
      second.letGo();
      return [first, second];
    },
  },
  'second takes over': {
    held: true,
    options: (length) => ['--spool', String(mostOf(length))],
    async strike({ place, first, id, length, again, heldReader, until, check, note, tooLate }) {
      const second = heldReader(...again);
      await second.begun;
      first.letGo();
      // The command waits for the controller, which is no longer the first caller.
      await until('the first to have what the second lets be written', () => first.length >= mostOf(length));
      await rest(500);
      const waits = await place.waits(id);
      if (waits === 'over') tooLate();
      else check('the second is in control', waits === 'stdout' && !first.over && first.length < length);
      note(`the first had to wait for the second with ${first.length} bytes read`);
      second.letGo();
      return [first, second];
    },
  },
};

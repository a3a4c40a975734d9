/** The folders of a transfer: entered one inside of the other, filled, left, and complete once all in them is settled. */
import { chmodSync, closeSync, mkdirSync, unlinkSync, writeFileSync } from 'node:fs';
import { ProtocolError } from '../../errors.js';
import type { Calls } from '../files/calls.js';
import { Exclusion } from '../files/exclusion.js';
import type { HeldFolder } from '../files/held-folder.js';
import { joined, NameSet, UNFINISHED } from '../files/names.js';
import { failedWith, Problem, problemOf } from '../files/problem.js';
import { encodeMessage, type Body } from '../stream/messages.js';
import { kinds, propertiesOf } from './entry.js';
import { openToSync } from './landing.js';
import { Level } from './level.js';
import { Links } from './links.js';
import type { Properties } from './placing.js';
import { obstacle, type Reception } from './reception.js';
import { removeOthers } from './removal.js';

/** What an owner needs to fill a folder. */
const FILLING = 0o700;
const HERE = Buffer.from('.');
const nothing = Buffer.alloc(0);

export class Folders {
  readonly #reception: Reception;
  readonly #links: Links;
  readonly #exclusion: Exclusion;
  /** The name of the only source. */
  readonly #sourceName: Uint8Array | undefined;
  readonly #levels: Level[] = [];
  /** Folders of levels, until these are complete. */
  readonly #held = new Set<HeldFolder>();
  /** The destination, made by this transfer or an unfinished one before. */
  #marked: { readonly folder: HeldFolder; readonly properties: Properties } | undefined;

  constructor(reception: Reception, sourceName: Uint8Array | undefined) {
    this.#reception = reception;
    this.#links = new Links(reception);
    this.#exclusion = new Exclusion(reception.settings.exclude);
    this.#sourceName = sourceName && Buffer.from(sourceName);
    this.#push(new Level({ number: -1, folder: reception.landing.folder, path: nothing, below: nothing }));
    reception.settling.onSettled = (level) => this.#finish(level);
  }

  /** The one that was entered last. */
  get current(): Level {
    return this.#levels.at(-1)!;
  }

  /** Whether all that were entered were left. */
  get areLeft(): boolean {
    return this.#levels.length === 1;
  }

  enter(parent: Level, name: Buffer, path: Buffer, entry: Body<'entry'>, number: number): void {
    const { limits, outflow, landing, settings, settling } = this.#reception;
    if (this.#levels.length > limits.maxDepth)
      throw new ProtocolError(`more than ${limits.maxDepth} folders below each other (maxDepth)`);
    const below = parent.isTop ? nothing : parent.below.length ? joined(parent.below, name) : name;
    const properties = propertiesOf(entry);
    const common = { number, parent, path, below, properties };
    let level: Level;
    try {
      const problem = obstacle(parent, name);
      if (problem) throw problem;
      if (outflow) throw new Problem('a folder cannot go to a stream', 'EISDIR');
      if (landing.exact) throw new Problem('a rule for files allows no folders', 'EACCES');
      const names = settings.delete ? new NameSet() : undefined;
      if (parent.isTop && entry.nameless && !landing.name)
        level = new Level({ ...common, folder: parent.folder?.child(HERE), names, fresh: !parent.folder });
      else level = new Level({ ...common, ...this.#open(parent, name, properties), names });
    } catch (error) {
      const problem = problemOf(error);
      level = new Level({ ...common, problem });
      settling.settle(number, parent, { state: 'failed', path, kind: 'folder', bytes: 0 }, problem);
    }
    this.#push(level);
  }

  #push(level: Level): void {
    this.#levels.push(level);
    if (level.folder) this.#held.add(level.folder);
  }

  #open(parent: Level, name: Buffer, properties: Properties): { folder?: HeldFolder; fresh: boolean } {
    const { folder } = parent;
    // A dry run in a folder that would have been made.
    if (!folder) return { fresh: true };
    const mode = properties.mode | FILLING;
    let fresh = false;
    if (this.#reception.settings.dryRun) {
      if (!folder.look(name)) return { fresh: true };
    } else {
      try {
        mkdirSync(folder.at(name), mode);
        fresh = true;
      } catch (error) {
        if (!failedWith(error, 'EEXIST')) throw error;
      }
    }
    try {
      const child = folder.child(name);
      // The umask may have taken something away.
      if (fresh) chmodSync(child.self, mode);
      if (parent.isTop && this.#reception.landing.name) this.#mark(child, fresh, properties);
      return { folder: child, fresh };
    } catch (error) {
      if (!failedWith(error, 'ENOTDIR', 'ELOOP')) throw error;
      throw new Problem('what is there is no folder; a link to one is not followed', 'ENOTDIR');
    }
  }

  /** Marks the destination as one that this transfer makes, or goes on making, and has not completed. */
  #mark(folder: HeldFolder, fresh: boolean, properties: Properties): void {
    if (this.#reception.settings.dryRun || !this.#sourceName) return;
    if (fresh) writeFileSync(folder.at(UNFINISHED), this.#sourceName, { flag: 'wx', mode: 0o600 });
    else if (!folder.look(UNFINISHED)) return;
    this.#marked = { folder: folder.hold(), properties };
  }

  /** The sender knows that all is there. */
  unmark(): void {
    if (!this.#marked) return;
    const { folder, properties } = this.#marked;
    try {
      unlinkSync(folder.at(UNFINISHED));
    } catch (error) {
      if (!failedWith(error, 'ENOENT')) throw error;
    }
    setFolderProperties(folder, properties, this.#reception.calls);
  }

  /** `complete`: the sender has named all that the folder has. */
  async leave(complete: boolean): Promise<void> {
    const level = this.current;
    if (level.isTop) throw new ProtocolError('leave: no folder was entered');
    this.#links.make(level);
    if (level.names && complete && !level.problem && level.folder && !level.fresh)
      await this.#removeOthers(level, level.names, level.folder);
    this.#levels.pop();
    level.left = true;
    this.#finish(level);
  }

  /** A link that belongs in a folder. */
  addLink(level: Level, name: Buffer, path: Buffer, entry: Body<'entry'>, number: number): void {
    this.#links.add(level, name, path, entry, number);
    // Those to the top level have no later moment, as no folder is left there.
    if (level.isTop) this.#links.make(level);
    else if (this.#links.areMany) for (const each of this.#levels) this.#links.make(each);
  }

  async #removeOthers(level: Level, names: NameSet, folder: HeldFolder): Promise<void> {
    const { settings, limits, channel, tally, settling } = this.#reception;
    const keeps = (name: Buffer, isFolder: boolean): boolean =>
      names.has(name) || this.#exclusion.has(level.below.length ? joined(level.below, name) : name, name, isFolder);
    for await (const { name, kind, problem } of removeOthers(folder, keeps, settings.dryRun, limits.maxDepth)) {
      const path = joined(level.path, name);
      if (problem) settling.refuse(path, kind, problem);
      else {
        channel.send(encodeMessage('deleted', { path, kind: kinds.indexOf(kind) }));
        tally.report({ state: 'deleted', path, kind, bytes: 0 });
      }
      await (tally.pending ?? channel.room());
      channel.check();
    }
  }

  /** Completes a folder that was left, once all in it is settled. */
  #finish(level: Level): void {
    if (!level.left || level.pending > 0) return;
    const { folder, fresh, parent, properties, number, path } = level;
    const { settling, groups, calls } = this.#reception;
    // Its failure was told when it was entered.
    if (level.problem) return;
    const event = { state: fresh ? 'placed' : 'same', path, kind: 'folder', bytes: 0 } as const;
    if (!folder || !fresh || !parent?.folder) {
      this.#letGo(folder);
      settling.settle(number, parent!, event);
      return;
    }
    groups.add({
      folder: parent.folder,
      fd: undefined,
      place: () => {
        if (folder !== this.#marked?.folder) setFolderProperties(folder, properties!, calls);
      },
      settled: (error) => {
        this.#letGo(folder);
        settling.settle(number, parent, event, error);
      },
    });
  }

  #letGo(folder: HeldFolder | undefined): void {
    if (folder && this.#held.delete(folder)) folder.release();
  }

  close(): void {
    this.#marked?.folder.release();
    for (const folder of this.#held) folder.release();
    this.#held.clear();
  }
}

function setFolderProperties(folder: HeldFolder, { mode, seconds, nanoseconds }: Properties, calls: Calls): void {
  const fd = openToSync(folder);
  if (fd !== undefined)
    try {
      calls.setTime(fd, seconds, nanoseconds);
    } finally {
      closeSync(fd);
    }
  if ((mode | FILLING) !== mode) chmodSync(folder.self, mode);
}

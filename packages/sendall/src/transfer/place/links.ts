/** Links wait until their folder is left, so that nothing that comes for it can be led astray. */
import { lutimesSync, readlinkSync, renameSync, symlinkSync, unlinkSync } from 'node:fs';
import { ProtocolError } from '../../errors.js';
import type { HeldFolder } from '../files/held-folder.js';
import { Problem, problemOf } from '../files/problem.js';
import type { Body } from '../stream/messages.js';
import { propertiesOf, secondsOf } from './entry.js';
import type { Level, Link } from './level.js';
import type { Properties } from './placing.js';
import { obstacle, type Reception } from './reception.js';

/** Links that wait. Together with open folders fewer than may be unsettled. */
const MOST_LINKS = 256;

export class Links {
  readonly #reception: Reception;
  #waiting = 0;

  constructor(reception: Reception) {
    this.#reception = reception;
  }

  /** There are so many that those of all folders are to be made now. */
  get areMany(): boolean {
    return this.#waiting >= MOST_LINKS;
  }

  /** @throws ProtocolError for one that leads nowhere. */
  add(level: Level, name: Buffer, path: Buffer, entry: Body<'entry'>, number: number): void {
    const { target } = entry;
    const { maxLinkTarget } = this.#reception.limits;
    if (!target?.length || target.length > maxLinkTarget || target.includes(0))
      throw new ProtocolError(`a link to ${target?.length ?? 0} bytes; it has 1 to ${maxLinkTarget} (maxLinkTarget)`);
    level.links.push({ number, name, path, target: Buffer.from(target), properties: propertiesOf(entry) });
    this.#waiting++;
  }

  /** Makes the links of a folder. */
  make(level: Level): void {
    const links = level.links.splice(0);
    this.#waiting -= links.length;
    for (const link of links) this.#makeOne(level, link);
  }

  #makeOne(level: Level, link: Link): void {
    const { number, name, path, target } = link;
    const { outflow, landing, settings, settling, groups } = this.#reception;
    const event = { path, kind: 'link', bytes: 0 } as const;
    try {
      const problem = obstacle(level, name);
      if (problem) throw problem;
      if (outflow || landing.exact) throw new Problem('only a regular file can be placed here', 'EACCES');
      const { folder } = level;
      const there = level.fresh ? undefined : folder?.look(name);
      if (there?.isDirectory()) throw new Problem('a folder is there', 'EISDIR');
      if (there && !there.isSymbolicLink() && !there.isFile())
        throw new Problem('a device, FIFO or socket is there', 'EEXIST');
      if (there?.isSymbolicLink() && readlinkSync(folder!.at(name), { encoding: 'buffer' }).equals(target))
        return settling.settle(number, level, { ...event, state: 'same' });
      if (settings.dryRun) return settling.settle(number, level, { ...event, state: 'placed' });
      this.#put(folder!, link);
      groups.add({
        folder: folder!.hold(),
        fd: undefined,
        place() {},
        settled: (error) => {
          folder!.release();
          settling.settle(number, level, { ...event, state: 'placed' }, error);
        },
      });
    } catch (error) {
      settling.settle(number, level, { ...event, state: 'failed' }, problemOf(error));
    }
  }

  #put(folder: HeldFolder, { name, target, properties }: Link): void {
    const temporary = folder.at(this.#reception.context.temporaries.next());
    symlinkSync(target, temporary);
    try {
      setLinkTime(temporary, properties);
      renameSync(temporary, folder.at(name));
    } catch (error) {
      unlinkSync(temporary);
      throw error;
    }
  }
}

/** Node sets the times of links to the microsecond only. */
const setLinkTime = (path: Buffer, properties: Properties): void =>
  lutimesSync(path, Date.now() / 1000, secondsOf(properties));

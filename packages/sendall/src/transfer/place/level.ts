/** A folder that was entered, or the place where the sources land. */
import type { HeldFolder } from '../files/held-folder.js';
import type { NameSet } from '../files/names.js';
import type { Problem } from '../files/problem.js';
import type { Properties } from './placing.js';

/** A link that waits until its folder is left. */
export interface Link {
  readonly number: number;
  readonly name: Buffer;
  readonly path: Buffer;
  readonly target: Buffer;
  readonly properties: Properties;
}

export class Level {
  /** The number of its entry; -1 for the place where the sources land. */
  readonly number: number;
  readonly parent: Level | undefined;
  /** Undefined in a dry run for one that would be made, and for one that failed. */
  readonly folder: HeldFolder | undefined;
  /** Made by this transfer, so nothing was in it. */
  readonly fresh: boolean;
  readonly path: Buffer;
  /** Below the source's top folder. */
  readonly below: Buffer;
  readonly properties: Properties | undefined;
  /** Why nothing can be placed in it. */
  readonly problem: Problem | undefined;
  readonly names: NameSet | undefined;
  readonly links: Link[] = [];
  temporaries: Buffer[] | undefined;
  /** Things in it that are not settled. */
  pending = 0;
  left = false;

  constructor(fields: Partial<Level> & Pick<Level, 'number' | 'path' | 'below'>) {
    this.number = fields.number;
    this.parent = fields.parent;
    this.folder = fields.folder;
    this.fresh = fields.fresh ?? false;
    this.path = fields.path;
    this.below = fields.below;
    this.properties = fields.properties;
    this.problem = fields.problem;
    this.names = fields.names;
  }

  /** Whether it is the place where the sources land. */
  get isTop(): boolean {
    return this.number < 0;
  }
}

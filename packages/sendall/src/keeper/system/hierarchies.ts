/**
 * Where this process is among cgroups: in the one hierarchy of version 2, and in those of version 1, each of which has
 * some controllers. Sources: cgroups(7); proc(5), /proc/PID/mountinfo.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A hierarchy as this process sees it. */
export interface Hierarchy {
  /** Its mount point. */
  readonly mount: string;
  /** The folder of the group that this process is in now. */
  readonly own: string;
}

/** The hierarchy of version 2, alone or beside those of version 1; undefined where it is not mounted. */
export function versionTwo(): Hierarchy | undefined {
  return find(
    (type) => type === 'cgroup2',
    (controllers) => controllers === '',
  );
}

/** The hierarchy of version 1 that has this controller; undefined where version 2 has it, or no hierarchy does. */
export function versionOne(controller: string): Hierarchy | undefined {
  const hasIt = (list: string): boolean => list.split(',').includes(controller);
  return find((type, options) => type === 'cgroup' && hasIt(options), hasIt);
}

function find(
  isMount: (type: string, options: string) => boolean,
  isOwn: (controllers: string) => boolean,
): Hierarchy | undefined {
  try {
    for (const line of readFileSync('/proc/self/mountinfo', 'latin1').split('\n')) {
      const [left, right] = line.split(' - ');
      const [type, , options] = right?.split(' ') ?? [];
      if (!isMount(type ?? '', options ?? '')) continue;
      const [, , , root, mount] = left!.split(' ');
      return { mount: mount!, own: join(mount!, below(root!, ownGroup(isOwn))) };
    }
  } catch {
    // No /proc that says it.
  }
  return undefined;
}

function ownGroup(isOwn: (controllers: string) => boolean): string {
  for (const line of readFileSync('/proc/self/cgroup', 'latin1').split('\n')) {
    const [, controllers = '', ...path] = line.split(':');
    if (path.length > 0 && isOwn(controllers)) return path.join(':');
  }
  return '/';
}

/** In a container the mount may begin at a group below the root. */
const below = (root: string, path: string): string =>
  root !== '/' && path.startsWith(root) ? path.slice(root.length) : path;

/**
 * An installation that came by ssh, on its machine: the folders below its root, and a record of what was done.
 *
 *     versions/0.1.0-3f2a9c1b8d7e/node_modules/…   one folder for each content
 *     nodes/v20.20.2-5d1f0c2e/bin/node             only where the machine has no Node.js of its own
 *     current -> versions/0.1.0-3f2a9c1b8d7e
 *     bin/sendall                                  for people
 *     installation.json                            its existence makes the rest an installation
 */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import type { EngineFiles } from '../../internal.js';

/** The program's place in a version's folder. */
export const PROGRAM = 'node_modules/sendall/bin/sendall.js';

/** What was done here. No secret is in it. */
export interface Installation {
  /** `begun`: it was interrupted, or is under way. */
  readonly state: 'begun' | 'installed';
  /** A folder in `versions`. */
  readonly version: string;
  /** The Node program that runs it. */
  readonly node: string;
  readonly name: string;
  /** Where the agent listens beside its own socket. */
  readonly listen: readonly string[];
  /** Its files for a broker. */
  readonly broker?: EngineFiles | undefined;
  readonly service: 'systemd' | 'background';
  readonly units: readonly string[];
  /** The link on the user's PATH. */
  readonly link?: string;
  /** We asked systemd to run this user's services while the user is logged out. */
  readonly lingers?: boolean;
}

export class Layout {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  /** The installation that this program belongs to, and its version there. */
  static ofProgram(): { readonly layout: Layout; readonly version: string } {
    const folder = realpathSync(process.argv[1]!).slice(0, -PROGRAM.length - 1);
    return { layout: new Layout(dirname(dirname(folder))), version: folder.slice(dirname(folder).length + 1) };
  }

  program(version: string): string {
    return join(this.root, 'versions', version, PROGRAM);
  }

  get command(): string {
    return join(this.root, 'bin/sendall');
  }

  read(): Installation | undefined {
    try {
      return JSON.parse(readFileSync(this.#record, 'utf8')) as Installation;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      // A torn record was left by a crash: everything can be done again.
      if (error instanceof SyntaxError) return undefined;
      throw error;
    }
  }

  /** Writes the record on one line, as the script reads it. */
  write(installation: Installation): void {
    replace(this.#record, (beside) => writeFileSync(beside, `${JSON.stringify(installation)}\n`));
  }

  forget(): void {
    rmSync(this.#record, { force: true });
  }

  /** Makes a version the current one, for people and for `agent restart`. */
  use({ version, node }: { version: string; node: string }): void {
    replace(join(this.root, 'current'), (beside) => symlinkSync(join('versions', version), beside));
    mkdirSync(dirname(this.command), { recursive: true, mode: 0o755 });
    const program = inShell(join(this.root, 'current', PROGRAM));
    const text = `#!/bin/sh\nPATH=${inShell(dirname(node))}:$PATH exec sh ${program} "$@"\n`;
    replace(this.command, (beside) => writeFileSync(beside, text, { mode: 0o755 }));
  }

  /** Puts the command on the PATH, unless another file is in its place. Returns the link. */
  link(path: string): string | undefined {
    if (readLink(path) === this.command) return path;
    try {
      mkdirSync(dirname(path), { recursive: true });
      symlinkSync(this.command, path);
      return path;
    } catch {
      return undefined;
    }
  }

  unlink(path: string): void {
    if (readLink(path) === this.command) rmSync(path, { force: true });
  }

  /** Removes the versions and Node programs that neither the current version nor a running process uses. */
  sweep({ version, node }: { version: string; node: string }): void {
    const running = commandLines();
    if (running === undefined) return;
    for (const kind of ['versions', 'nodes'])
      for (const name of namesIn(join(this.root, kind))) {
        const folder = join(this.root, kind, name);
        const isCurrent = name === version || node.startsWith(`${folder}/`);
        if (!isCurrent && !running.some((line) => line.includes(`${folder}/`)))
          rmSync(folder, { recursive: true, force: true });
      }
  }

  get #record(): string {
    return join(this.root, 'installation.json');
  }
}

/** Makes a file or link beside the old one and puts it in its place. */
function replace(path: string, make: (beside: string) => void): void {
  const beside = `${path}.${process.pid}`;
  rmSync(beside, { force: true });
  make(beside);
  renameSync(beside, path);
}

function readLink(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

function namesIn(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder) : [];
}

/** The command lines of all processes; undefined where they cannot be read. A keeper may outlive many upgrades. */
function commandLines(): string[] | undefined {
  if (!existsSync('/proc/self/cmdline')) return undefined;
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ');
      } catch {
        return '';
      }
    });
}

const inShell = (word: string): string => `'${word.replaceAll("'", String.raw`'\''`)}'`;

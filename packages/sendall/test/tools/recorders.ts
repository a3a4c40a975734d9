/** Keeps what two programs say to each other at both ends, so that a fault of theirs can be told from one on the way. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';

/** The files are `in.N` and `out.N`, where the file `try` says N. It ends with its program, whatever may still come in. */
const SCRIPT = `#!/bin/bash
cd "\${0%/*}"
n=$(cat try)
exec PROGRAM "$@" < <(exec tee "in.$n" 2>/dev/null) > >(exec tee "out.$n" 2>/dev/null)
`;

export class Recorders {
  readonly #folders: readonly string[];
  #tries = 0;

  /** Makes a folder for each end, with a script `recorder` that is run in the place of a program. */
  constructor(ends: readonly { readonly folder: string; readonly program: string }[]) {
    for (const { folder, program } of ends) {
      mkdirSync(folder);
      writeFileSync(join(folder, 'recorder'), SCRIPT.replace('PROGRAM', program), { mode: 0o755 });
    }
    this.#folders = ends.map(({ folder }) => folder);
  }

  /** Begins new files. */
  next(): void {
    this.#tries += 1;
    for (const folder of this.#folders) writeFileSync(join(folder, 'try'), `${this.#tries}`);
  }

  /** What one end wrote is what came to the other, as far as both have noted it. */
  mustAgree(): void {
    for (const name of ['in', 'out']) {
      const [here, there] = this.#folders.map((folder) => notedIn(join(folder, `${name}.${this.#tries}`)));
      // The programs may end before both recorders have written all of it.
      const both = Math.min(here!.length, there!.length);
      const isSame = here!.subarray(0, both).equals(there!.subarray(0, both));
      expect(isSame, `${name}: the same ${both} bytes at both ends`).toBe(true);
    }
  }
}

/** A program that was not reached has noted nothing. */
const notedIn = (file: string): Buffer => (existsSync(file) ? readFileSync(file) : Buffer.alloc(0));

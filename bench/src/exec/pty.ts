/** Starts programs on pseudo-terminals, with the keeper's code. */
import { constants, openSync } from 'node:fs';
import { Terminal } from '../../../packages/sendall/dist/keeper/system/terminal.js';
import type { Native } from '../../../packages/sendall/dist/keeper/system/native.js';
import { loadNative } from '../../../packages/sendall/dist/keeper/system/syscalls.js';
import { starter } from '../../../packages/sendall/dist/started.js';

const loaded = await loadNative(starter());
if (!loaded) throw new Error('terminals need koffi: npm ci');
export const native: Native = loaded;

/** Starts a program on a terminal of its own. */
export function startOnPty(argv: readonly string[], env: NodeJS.ProcessEnv, cols = 500, rows = 24) {
  const terminal = new Terminal(native, cols, rows);
  const pairs = Object.entries(env).map(([name, value]) => Buffer.from(`${name}=${value}`));
  const pid = native.spawn(
    native.arrange({
      path: Buffer.from(`${argv[0]}\0`),
      words: native.words(
        argv.map((word) => Buffer.from(word)),
        pairs,
      ),
      cwd: openSync('/', constants.O_RDONLY),
      stdin: -1,
      stdout: -1,
      stderr: -1,
      terminal: terminal.path,
    }),
  );
  terminal.release();
  return { terminal, pid };
}

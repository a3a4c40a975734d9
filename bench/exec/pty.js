// @ts-check
/** Programs on pseudo-terminals, by the means of the keeper. */
import { constants, openSync } from 'node:fs';
import { Terminal } from '../../packages/sendall/dist/keeper/system/terminal.js';
import { loadNative } from '../../packages/sendall/dist/keeper/system/syscalls.js';

const loaded = await loadNative({ nofile: undefined, umask: 0o022 });
if (!loaded) throw new Error('terminals need koffi: npm ci');
export const native = loaded;

/** Starts a program on a terminal of its own. @param {readonly string[]} argv @param {NodeJS.ProcessEnv} env */
export function startOnPty(argv, env, cols = 500, rows = 24) {
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

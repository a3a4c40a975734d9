// Bundles the command line into a few files, so that `sendall run` reads few of them, and has them compiled beforehand:
// dist/cli-bundle of the package. `sendall` starts from there.
import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

const dist = fileURLToPath(new URL('../packages/sendall/dist/', import.meta.url));
const folder = `${dist}cli-bundle`;

/**
 * The agent stays as it is: it starts the keeper by a path beside its own file, and it is not in a hurry.
 * @type {import('rolldown').Plugin}
 */
const agentStaysOutside = {
  name: 'agent-stays-outside',
  resolveId(source, _importer, { kind }) {
    if (kind === 'dynamic-import' && source.endsWith('/index.js')) return { id: '../index.js', external: true };
    return null;
  },
};

/** What `sendall run` needs, in one file. */
const core = [
  /\/framing\/dist\//,
  /\/dist\/(protocol|client)\/(?!pair\.)/,
  /\/dist\/(errors|home|started)\.js$/,
  /\/dist\/link\/(link|batch|shared-reads|dial|handshake|address|printable|duration)\.js$/,
  /\/dist\/cli\/(?!main|show\/(help|prefixed-lines|print-groups|text-diff)\.|commands\/(?!(run|accompany|run-options)\.))/,
];

const bundle = await rolldown({
  input: `${dist}cli/main.js`,
  platform: 'node',
  // Has a binary of its own beside it.
  external: ['@node-rs/crc32'],
  plugins: [agentStaysOutside],
  // No module of ours does anything by being loaded but the entry.
  treeshake: { moduleSideEffects: false },
  logLevel: 'silent',
});
rmSync(folder, { recursive: true, force: true });
await bundle.write({
  dir: folder,
  format: 'cjs',
  entryFileNames: '[name].cjs',
  chunkFileNames: '[name].cjs',
  minify: { mangle: false, compress: false, codegen: true },
  codeSplitting: { groups: [{ name: 'core', test: (id) => core.some((pattern) => pattern.test(id)) }] },
});
await bundle.close();
execFileSync(process.execPath, [fileURLToPath(new URL('compile.cjs', import.meta.url)), folder], {
  stdio: ['ignore', 'ignore', 'inherit'],
});

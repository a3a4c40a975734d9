/**
 * Bundles the command line into a few files in the package's dist/cli-bundle, so that `sendall run` reads few files.
 */
import { createHash } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

const dist = fileURLToPath(new URL('../packages/sendall/dist/', import.meta.url));
const folder = `${dist}cli-bundle`;

/**
 * Leaves long-running programs unbundled: they are in no hurry, and the agent starts the keeper by a path beside its own
 * file.
 * @type {import('rolldown').Plugin}
 */
const serversStayOutside = {
  name: 'servers-stay-outside',
  resolveId(source, importer, { kind }) {
    if (kind !== 'dynamic-import' || !importer?.endsWith('/dist/on-demand.js')) return null;
    if (!/^\.\/(agent|testing|link)\//.test(source)) return null;
    return { id: `.${source}`, external: true };
  },
};

/** The code `sendall run` needs, in one file. */
const atOnce = [
  /\/framing\/dist\//,
  /\/dist\/(protocol|client|text)\/(?!(pair|audit)\.)/,
  /\/dist\/(errors|home|started|files\/record-log|fleet\/history\/(note|folder))\.js$/,
  /\/dist\/link\/(link|batch|shared-reads|dial|handshake|warm\/client)\.js$/,
  /\/dist\/cli\/(?!main|install\/|hosts\/(agent-process|find-run|history)\.|show\/(help|prefixed-lines|print-groups|text-diff)\.|commands\/(?!run\.)|runs\/(?!(accompany|run-options)\.))/,
];

const bundle = await rolldown({
  input: `${dist}cli/main.js`,
  platform: 'node',
  // Loads a binary beside it.
  external: ['@node-rs/crc32'],
  plugins: [serversStayOutside],
  // Except for the entry, loading our modules has no side effects.
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
  codeSplitting: { groups: [{ name: 'core', test: (id) => atOnce.some((pattern) => pattern.test(id)) }] },
});
await bundle.close();

// bin/compiled.js keys its cache by this line.
const core = `${folder}/core.cjs`;
const text = readFileSync(core, 'utf8');
const { version } = JSON.parse(readFileSync(new URL('../packages/sendall/package.json', import.meta.url), 'utf8'));
writeFileSync(core, `// sendall ${version} ${createHash('sha256').update(text).digest('hex').slice(0, 16)}\n${text}`);

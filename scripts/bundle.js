/**
 * Bundles our programs into a few files each, in folders of the package's dist, so that `sendall run` and `sendall-ssh`
 * read few files, and the keeper's own program for transfers into one.
 */
import { createHash } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

const dist = fileURLToPath(new URL('../packages/sendall/dist/', import.meta.url));

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

/**
 * Writes our version into a bundle, which elsewhere is read from package.json by a loader that takes a millisecond.
 * @type {import('rolldown').Plugin}
 */
const knowsItsVersion = {
  name: 'knows-its-version',
  load: (id) =>
    id.endsWith('/dist/protocol/version.js') ? `export const VERSION = ${JSON.stringify(version)};` : null,
};

/** What every call to a host needs. */
const toCall = [
  /\/framing\/dist\//,
  /\/dist\/(protocol|client|text)\/(?!(pair|audit|login-shell|transfer\/movement)\.)/,
  /\/dist\/(errors|home|started|files\/record-log|fleet\/history\/(note|folder))\.js$/,
  /\/dist\/link\/(link|batch|shared-reads|dial|handshake|warm\/client)\.js$/,
];

/** The code `sendall run` needs, in one file. */
const forRun = [
  ...toCall,
  /\/dist\/cli\/(?!main|sendall-ssh|ssh\/|install\/|hosts\/(agent-process|find-run|history)\.|show\/(help|prefixed-lines|print-groups|text-diff|rate|transfer-[a-z]+)\.|words\/places\.|terminal\/own-terminal\.|commands\/(?!run\.)|runs\/(?!(accompany|run-options)\.))/,
];

/** The same for `sendall-ssh`. */
const forSsh = [
  ...toCall,
  /\/dist\/cli\/(version|ssh\/(?!(settings|master)\.)|words\/(command|closest|own-words|stdin|units)\.|leaving\/(exit|signals)\.|terminal\/(foreground|own-terminal)\.|show\/(columns|control-characters|print|progress|scarce|sink|status-line)\.|hosts\/reach\.)/,
];

/** Modules of Node that take longest to load. A short command needs them late or never. */
const onFirstUse = ['crypto', 'zlib', 'child_process'];

/**
 * Code that loads these modules on their first use.
 * @param {string} text
 */
function loadingOnFirstUse(text) {
  let late = text;
  for (const module of onFirstUse) {
    const name = `node_${module}`;
    const atOnce = `let ${name}=require("node:${module}");`;
    if (!late.includes(atOnce)) throw new Error(`the bundle does not say ${atOnce}`);
    late = late
      .replaceAll(new RegExp(`\\b${name}\\.`, 'g'), `${name}().`)
      .replace(atOnce, `let loaded_${module};const ${name}=()=>loaded_${module}??=require("node:${module}");`);
  }
  return late;
}

/**
 * Bundles a program into a folder of dist: main.cjs, core.cjs with what it needs at once, and the rest.
 * @param {string} program
 * @param {string} name
 * @param {readonly RegExp[]} atOnce
 */
async function bundleInto(name, program, atOnce) {
  const folder = `${dist}${name}`;
  const bundle = await rolldown({
    input: { main: `${dist}cli/${program}.js` },
    platform: 'node',
    // Loads a binary beside it.
    external: ['@node-rs/crc32'],
    plugins: [serversStayOutside, knowsItsVersion],
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
  const text = loadingOnFirstUse(readFileSync(core, 'utf8'));
  writeFileSync(core, `// sendall ${version} ${createHash('sha256').update(text).digest('hex').slice(0, 16)}\n${text}`);
}

const { version } = JSON.parse(readFileSync(new URL('../packages/sendall/package.json', import.meta.url), 'utf8'));
await bundleInto('cli-bundle', 'main', forRun);
await bundleInto('ssh-bundle', 'sendall-ssh', forSsh);

// Users who cannot read our folder get it as a descriptor, so it is one file.
const helper = await rolldown({
  input: `${dist}transfer/helper.js`,
  platform: 'node',
  // Each loads a binary beside it, and may be missing.
  external: ['koffi', '@node-rs/crc32'],
  treeshake: { moduleSideEffects: false },
  logLevel: 'silent',
});
await helper.write({ file: `${dist}transfer/helper.cjs`, format: 'cjs', codeSplitting: false });
await helper.close();

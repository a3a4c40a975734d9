/**
 * Builds the pages, the lab's and the console's: bundles their scripts with the modules shared with their servers, and
 * puts everything into dist of the package.
 */
import { cpSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';
import { xtermCsp } from './xterm-csp.js';

const folder = (/** @type {string} */ name) => fileURLToPath(new URL(`../packages/${name}/`, import.meta.url));

/**
 * @param {string} input the script that begins the page, in the folder of its sources
 * @param {string} built the folder it is built into
 * @param {readonly string[]} sheets its style sheets, in their order
 */
async function build(input, built, sheets) {
  const page = dirname(input);
  rmSync(built, { recursive: true, force: true });
  const bundle = await rolldown({
    input,
    platform: 'browser',
    logLevel: 'warn',
    plugins: [xtermCsp()],
    // A style sheet of a library, for the script that needs it.
    moduleTypes: { '.css': 'text' },
  });
  await bundle.write({
    dir: built,
    format: 'esm',
    entryFileNames: '[name].js',
    chunkFileNames: '[name].js',
    minify: true,
    // Few files, as small ones compress less well: what several scripts need, and the views that are not the first ones.
    // The terminal, with its library, stays alone.
    codeSplitting: {
      groups: [
        { name: 'shared', minShareCount: 2 },
        { name: 'views', test: /\/page\/views\/(run[-/]|fleet|policy)/ },
      ],
    },
  });
  await bundle.close();
  for (const file of ['index.html', 'icon.svg']) cpSync(join(page, file), built + file);
  writeFileSync(`${built}style.css`, sheets.map((path) => short(readFileSync(path, 'utf8'))).join('\n'));
}

/** A style sheet without comments and most of its blanks. No string in ours holds either. */
const short = (/** @type {string} */ css) =>
  css
    .replace(/\/\*[^]*?\*\//g, '')
    .replace(/\s+/g, ' ')
    .replace(/ ?([{};,]) ?/g, '$1')
    .replace(/: /g, ':')
    .replace(/;\}/g, '}');

const lab = folder('lab/page');
await build(`${lab}app.ts`, folder('lab/dist/browser'), [`${lab}style.css`]);

const own = folder('sendall/page');
const sheets = readdirSync(`${own}style`).toSorted();
await build(
  `${own}app.tsx`,
  folder('sendall/dist/console/page'),
  sheets.map((name) => `${own}style/${name}`),
);

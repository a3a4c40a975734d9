/**
 * Builds the lab's page: bundles its scripts with the modules shared with the lab, and puts everything into
 * dist/browser.
 */
import { cpSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

const page = fileURLToPath(new URL('../packages/lab/page/', import.meta.url));
const folder = fileURLToPath(new URL('../packages/lab/dist/browser/', import.meta.url));

rmSync(folder, { recursive: true, force: true });
const bundle = await rolldown({ input: `${page}app.ts`, platform: 'browser', logLevel: 'warn' });
await bundle.write({ dir: folder, format: 'esm', entryFileNames: '[name].js', minify: true });
await bundle.close();
for (const file of ['index.html', 'style.css', 'icon.svg']) cpSync(page + file, folder + file);

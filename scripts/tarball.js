/**
 * prepack and postpack of each package. Prepack adds its changelog, the pages, examples and pictures linked from its
 * README, and a README whose links lead to these. Postpack restores the repository's README.
 */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = process.cwd();
const here = relative(root, folder);
const readme = join(folder, 'README.md');
/** Holds the repository's README while the tarball's is in its place. */
const kept = join(folder, '.README.repository.md');
/** Folders of the repository that a tarball contains in part, under the same names. */
const carriedFolders = ['docs', 'examples'];

/** A link or a picture: [text](target), with the target's path and what follows it. */
const links = /(!?)\[((?:[^\][]|\[[^\]]*\])*)\]\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)/g;

/**
 * The targets of a page's links, as paths in the repository.
 * @param {string} page
 * @param {string} text
 */
const targets = (page, text) =>
  [...text.matchAll(links)].map(([, , , target]) => normalize(join(dirname(page), target ?? '')));

/**
 * The text with links that work inside the tarball; other links become plain text.
 * @param {string} page
 * @param {string} text
 * @param {(path: string) => string | undefined} placeOf maps a path in the repository to one in the tarball
 */
const relinked = (page, text, placeOf) =>
  text.replaceAll(links, (_whole, picture, words, target, anchor = '') => {
    const place = placeOf(normalize(join(dirname(page), target)));
    const own = placeOf(page) ?? '';
    return place === undefined ? words : `${picture}[${words}](${relative(dirname(own), place)}${anchor})`;
  });

/**
 * Writes atomically, since another pack may be reading the file.
 * @param {string} path
 * @param {string | Buffer} content
 */
function write(path, content) {
  mkdirSync(dirname(path), { recursive: true });
  const beside = `${path}.${process.pid}`;
  writeFileSync(beside, content);
  renameSync(beside, path);
}

/** Copies fields from the workspace's package.json that this package's lacks. */
function fillIn() {
  const path = join(folder, 'package.json');
  const manifest = JSON.parse(readFileSync(path, 'utf8'));
  const { homepage, bugs, repository } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const source = typeof repository === 'string' ? { type: 'git', url: repository } : repository;
  const filled = { ...manifest, homepage, bugs, ...(source && { repository: { ...source, directory: here } }) };
  if (JSON.stringify(filled) !== JSON.stringify(manifest)) write(path, `${JSON.stringify(filled, null, 2)}\n`);
}

function prepare() {
  fillIn();
  if (!existsSync(kept)) copyFileSync(readme, kept);
  const page = join(here, 'README.md');
  const text = readFileSync(kept, 'utf8');
  /** @type {{ files: string[] }} */
  const { files } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));

  const isCarried = (/** @type {string} */ path) =>
    carriedFolders.some((each) => path.startsWith(`${each}/`)) && existsSync(join(root, path));
  const carried = new Set(targets(page, text).filter(isCarried));
  for (const path of [...carried].filter((each) => each.endsWith('.md')))
    for (const target of targets(path, readFileSync(join(root, path), 'utf8')))
      if (/\.(png|svg)$/.test(target)) carried.add(target);

  const placeOf = (/** @type {string} */ path) => {
    if (carried.has(path)) return path;
    const own = relative(here, path);
    return ['README.md', ...files].some((each) => own === each || own.startsWith(`${each}/`)) ? own : undefined;
  };
  for (const path of carried) {
    const content = readFileSync(join(root, path));
    write(join(folder, path), path.endsWith('.md') ? relinked(path, String(content), placeOf) : content);
  }
  // Files left by an earlier pack.
  for (const path of carriedFolders.flatMap(filesBelow)) if (!carried.has(path)) rmSync(join(folder, path));
  write(join(folder, 'CHANGELOG.md'), readFileSync(join(root, 'CHANGELOG.md')));
  write(readme, relinked(page, text, placeOf));
}

/** @param {string} below */
function filesBelow(below) {
  if (!existsSync(join(folder, below))) return [];
  const entries = readdirSync(join(folder, below), { recursive: true, withFileTypes: true });
  return entries.filter((each) => each.isFile()).map((each) => relative(folder, join(each.parentPath, each.name)));
}

function restore() {
  if (existsSync(kept)) renameSync(kept, readme);
}

if (process.argv[2] === 'restore') restore();
else prepare();

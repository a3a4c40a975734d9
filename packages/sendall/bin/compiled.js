// @ts-check
'use strict';
/**
 * Loads a program's bundle, a CommonJS file, together with its V8 bytecode from an earlier start, kept in the user's cache
 * folder. Compiling the command line at each start takes about a seventh of the time Node itself needs to start.
 */
const {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} = require('node:fs');
const { Module } = require('node:module');
const { homedir } = require('node:os');
const { dirname, isAbsolute, join } = require('node:path');
const { Script } = require('node:vm');

const dist = join(__dirname, '../dist');

/** @param {string} path */
const changedAt = (path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;

/**
 * Starts a program from its bundle: a folder of dist with core.cjs and main.cjs. False in a checkout whose modules were
 * built after the bundle. `isWorthKeeping`: whether a successful end keeps what was compiled.
 * @param {string} name
 * @param {() => boolean} isWorthKeeping
 */
exports.loadBundle = (name, isWorthKeeping) => {
  const folder = join(dist, name);
  const bundled = changedAt(join(folder, 'main.cjs'));
  const built = [dist, join(__dirname, '../../framing/dist')].map((each) => changedAt(join(each, '.tsbuildinfo')));
  if (!bundled || built.some((time) => bundled < time)) return false;
  const keep = loadCompiled(join(folder, 'core.cjs'));
  if (keep && isWorthKeeping())
    process.once('exit', (code) => {
      if (code === 0) keep();
    });
  require(join(folder, 'main.cjs'));
  return true;
};

/**
 * Loads `file` like `require`. Its first line identifies its content: `// sendall VERSION HASH`. A missing or untrusted
 * cache costs only time.
 * @param {string} file
 * @returns {(() => void) | undefined} saves the code compiled so far for later starts; undefined: it is saved already
 */
function loadCompiled(file) {
  const source = readFileSync(file, 'utf8');
  const place = placeOf(source);
  const cached = place && attempt(() => read(place));
  const script = new Script(Module.wrap(source), { filename: file, cachedData: cached });
  const module = new Module(file);
  module.filename = file;
  require.cache[file] = module;
  script
    .runInThisContext()
    .call(module.exports, module.exports, Module.createRequire(file), module, file, dirname(file));
  module.loaded = true;
  if (!place || (cached && !script.cachedDataRejected)) return undefined;
  return () => attempt(() => write(place, script.createCachedData()));
}

/** @typedef {{ folder: string, name: string }} Place */

/**
 * The place of the cache for exactly this content and this Node.
 * @param {string} source
 * @returns {Place | undefined}
 */
function placeOf(source) {
  const [, version, hash] = /^\/\/ sendall (\S+) (\S+)\n/.exec(source.slice(0, 200)) ?? [];
  // A system that cannot tell a file's owner has no cache.
  if (!hash || !process.geteuid || process.env.NODE_DISABLE_COMPILE_CACHE) return undefined;
  const { XDG_CACHE_HOME } = process.env;
  const base = XDG_CACHE_HOME && isAbsolute(XDG_CACHE_HOME) ? XDG_CACHE_HOME : attempt(() => join(homedir(), '.cache'));
  const name = `sendall-${version}-${hash}-node-${process.version}-${process.platform}-${process.arch}.cache`;
  return base === undefined ? undefined : { folder: join(base, 'sendall'), name };
}

/**
 * Bytecode is code: trust it only if this user wrote it and no other can change it.
 * @param {import('node:fs').Stats} info
 */
const isOurs = ({ uid, mode }) => uid === process.geteuid?.() && (mode & 0o022) === 0;

/**
 * Whether the folder is ours, and no other user can replace it.
 * @param {string} folder
 */
function isPrivate(folder) {
  const info = lstatSync(folder);
  const { uid, mode } = statSync(dirname(folder));
  const isSafelyHeld = (uid === info.uid || uid === 0) && ((mode & 0o022) === 0 || (mode & 0o1000) !== 0);
  return info.isDirectory() && isOurs(info) && isSafelyHeld;
}

/** @param {Place} place */
function read({ folder, name }) {
  if (!isPrivate(folder)) return undefined;
  // O_NONBLOCK: opening a FIFO in the file's place must not hang.
  const fd = openSync(join(folder, name), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const info = fstatSync(fd);
    return info.isFile() && isOurs(info) ? readFileSync(fd) : undefined;
  } finally {
    closeSync(fd);
  }
}

/**
 * @param {Place} place
 * @param {Buffer} data
 */
function write({ folder, name }, data) {
  // Root makes no folders in another user's home, which `sudo` may have left in HOME.
  if (!isOurs(statSync(nearest(folder)))) return;
  // Not `recursive`, with which Node never returns from /proc.
  for (const each of [dirname(folder), folder]) if (!existsSync(each)) mkdirSync(each, 0o700);
  if (!isPrivate(folder)) return;
  const path = join(folder, name);
  const beside = `${path}.${process.pid}.${process.hrtime.bigint()}`;
  try {
    const fd = openSync(beside, 'wx', 0o600);
    try {
      writeFileSync(fd, data);
      // After a power failure a name without its bytes would be a broken cache.
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(beside, path);
  } finally {
    rmSync(beside, { force: true });
  }
}

/**
 * The path itself, or the lowest folder above it that exists.
 * @param {string} path
 * @returns {string}
 */
function nearest(path) {
  return existsSync(path) ? path : nearest(dirname(path));
}

/**
 * @template T
 * @param {() => T} action
 */
function attempt(action) {
  try {
    return action();
  } catch {
    return undefined;
  }
}

// @ts-check
'use strict';
// A CommonJS file together with what V8 made of it earlier. Compiling the command line anew at each start takes about a
// seventh of what Node itself needs to start.
const { readFileSync } = require('node:fs');
const { Module } = require('node:module');
const { dirname } = require('node:path');
const { Script } = require('node:vm');

/**
 * Loads `file` as `require` would. `cached`: a code cache of this very Node and this very file, or undefined; V8 checks
 * it and compiles anew when it does not fit.
 * @param {string} file
 * @param {Uint8Array | undefined} cached
 * @returns {Script}
 */
exports.loadCompiled = (file, cached) => {
  const script = new Script(Module.wrap(readFileSync(file, 'utf8')), { filename: file, cachedData: cached });
  const module = new Module(file);
  module.filename = file;
  require.cache[file] = module;
  script
    .runInThisContext()
    .call(module.exports, module.exports, Module.createRequire(file), module, file, dirname(file));
  module.loaded = true;
  return script;
};

/** The cache's name: bytecode fits one build of Node only. */
exports.cacheName = `core-${process.version}-${process.platform}-${process.arch}.cache`;

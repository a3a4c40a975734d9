#!/usr/bin/env node
// @ts-check
'use strict';
// Starts the command line from its bundle, which reads few files and is compiled already. CommonJS, because Node's
// loader of ES modules costs several milliseconds by itself.
const { readFileSync, statSync } = require('node:fs');
const { join } = require('node:path');
const { cacheName, loadCompiled } = require('./compiled.js');

const dist = join(__dirname, '../dist');

/** @param {string} path */
const changedAt = (path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;

/** In a checkout the modules may have been built after the bundle. */
const isBundleFresh = () => {
  const bundled = changedAt(join(dist, 'cli-bundle/main.cjs'));
  const built = [dist, join(__dirname, '../../framing/dist')].map((each) => changedAt(join(each, '.tsbuildinfo')));
  return bundled > 0 && built.every((time) => bundled >= time);
};

if (isBundleFresh()) {
  const bundle = join(dist, 'cli-bundle');
  let cached;
  try {
    cached = readFileSync(join(bundle, cacheName));
  } catch {
    // Another Node than the one it was built with: it compiles for itself.
  }
  loadCompiled(join(bundle, 'core.cjs'), cached);
  require(join(bundle, 'main.cjs'));
} else void import('../dist/cli/main.js');

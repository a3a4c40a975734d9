// @ts-check
'use strict';
// node compile.cjs BUNDLE: runs one command through the bundled command line, so that V8 has compiled what a command
// needs, and keeps the result beside the bundle. Without an agent to run it on only what every command needs is kept.
const { spawn } = require('node:child_process');
const { mkdtempSync, rmSync, writeFileSync } = require('node:fs');
const { tmpdir } = require('node:os');
const { join } = require('node:path');
const { cacheName, loadCompiled } = require('../packages/sendall/bin/compiled.js');

const bundle = /** @type {string} */ (process.argv[2]);
const sendall = join(__dirname, '../packages/sendall/bin/sendall.js');
const home = mkdtempSync(join(tmpdir(), 'sendall-'));
process.env.SENDALL_HOME = home;

const agent = spawn(process.execPath, [sendall, 'agent'], { stdio: ['ignore', 'ignore', 'pipe'] });
agent.stderr.once('data', () => {
  process.argv = [process.execPath, sendall, 'run', 'local', '-n', '--', 'echo', 'compiled'];
  const core = loadCompiled(join(bundle, 'core.cjs'), undefined);
  process.once('exit', () => {
    process.exitCode = 0;
    writeFileSync(join(bundle, cacheName), core.createCachedData());
    agent.kill();
    rmSync(home, { recursive: true, force: true });
  });
  require(join(bundle, 'main.cjs'));
});

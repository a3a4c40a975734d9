import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const depcruise = join(root, 'node_modules/.bin/depcruise');
const cruise = (cwd: string) =>
  execFileSync(depcruise, ['--config', '.dependency-cruiser.cjs', '--output-type', 'err', 'packages'], {
    cwd,
    encoding: 'utf8',
  });

/** Imports that break a rule, each with the room it is planted in. */
const PLANTED: readonly (readonly [room: string, text: string])[] = [
  ['framing/src', "import { connect } from 'node:net';\nexport const x = connect;\n"],
  ['socketserver/src', "export { connect } from '../../../sendall/src/index.js';\n"],
  ['lab/src', "export { connect } from '../../../sendall/src/index.js';\n"],
  ['sendall/src/protocol', "export { Link } from '../../link/link.js';\n"],
  ['sendall/src/client', "export { Agent } from '../../agent/agent.js';\n"],
  ['sendall/src/client/streams', "export { KeeperRun } from '../../run/run.js';\n"],
  ['sendall/src/text', "export { loadIdentity } from '../../keys/identity.js';\n"],
  ['sendall/src/files', "export { printable } from '../../text/printable.js';\n"],
  ['sendall/src/log', "export { Journal } from '../../keeper/journal/journal.js';\n"],
  ['sendall/src/keys', "export { Link } from '../../link/link.js';\n"],
  ['sendall/src/policy', "export { Callers } from '../../agent/callers/callers.js';\n"],
  ['sendall/src/agent/callers', "export { admit } from '../../admission/admission.js';\n"],
  ['sendall/src/keeper/run', "export { decide } from '../../../policy/match.js';\n"],
  ['sendall/src/keeper/door', "export { askWarmLinks } from '../../../link/warm/client.js';\n"],
  ['sendall/src/testing/network', "export { Agent } from '../../../agent/agent.js';\n"],
  ['sendall/src/cli', "export { Link } from '../../link/link.js';\n"],
  ['sendall/src/cli', "export { openAgent } from '../../agent/index.js';\n"],
  ['sendall/src/keeper/system', "export { KeeperRun } from '../../run/run.js';\n"],
  ['sendall/src/keeper/output', "export { Journal } from '../../journal/journal.js';\n"],
  ['sendall/src/cli/words', "export { say } from '../../show/print.js';\n"],
  ['sendall/src/cli/show', "export { accompany } from '../../runs/accompany.js';\n"],
  ['lab/src/wire', "export { startProxy } from '../../proxy/proxy.js';\n"],
  ['lab/src/phenomena', "export { renderShown } from '../../render/shown.js';\n"],
  ['lab/src/page', "export { wirelab } from '../../cli/main.js';\n"],
  ['socketserver/src/connection', "export { BaseServer } from '../../server/server.js';\n"],
];
const nameOf = (text: string) => `planted-${PLANTED.findIndex((each) => each[1] === text)}`;

/** A copy of the sources with the bad imports. */
let copy: string;
/** The verdict of the rules on it. */
let report: string;
beforeAll(() => {
  copy = mkdtempSync(join(tmpdir(), 'sendall-layers-'));
  for (const file of ['.dependency-cruiser.cjs', 'tsconfig.base.json']) cpSync(join(root, file), join(copy, file));
  for (const name of ['framing', 'socketserver', 'sendall', 'lab']) {
    cpSync(join(root, 'packages', name, 'src'), join(copy, 'packages', name, 'src'), { recursive: true });
    cpSync(join(root, 'packages', name, 'package.json'), join(copy, 'packages', name, 'package.json'));
  }
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
  for (const [room, text] of PLANTED) {
    const folder = join(copy, 'packages', room, 'planted');
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, `${nameOf(text)}.ts`), text);
  }
  try {
    report = cruise(copy);
  } catch (error) {
    report = (error as { stdout: string }).stdout;
  }
});
afterAll(() => rmSync(copy, { recursive: true, force: true }));

test('no import breaks the layer rules, and there is no cycle', () => {
  expect(cruise(root)).toMatch(/no dependency violations found/);
});

test.each(PLANTED)('an upward import planted in %s is found', (room, text) => {
  expect(report).toContain(`packages/${room}/planted/${nameOf(text)}.ts`);
});

import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const depcruise = join(root, 'node_modules/.bin/depcruise');

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
  ['sendall/src/console', "export { Link } from '../../link/link.js';\n"],
  ['sendall/src/console/messages', "export { join } from 'node:path';\n"],
  ['sendall/src/fleet', "export { OPERATIONS } from '../../console/messages.js';\n"],
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
/** The files in it that break a rule. */
let found: string[];
beforeAll(() => {
  copy = mkdtempSync(join(tmpdir(), 'sendall-layers-'));
  for (const file of ['.dependency-cruiser.cjs', 'tsconfig.base.json']) cpSync(join(root, file), join(copy, file));
  const filter = (path: string) => !/\/(?:node_modules|dist|bin|test)$/.test(path);
  cpSync(join(root, 'packages'), join(copy, 'packages'), { recursive: true, filter });
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
  for (const [room, text] of PLANTED) {
    const folder = join(copy, 'packages', room, 'planted');
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, `${nameOf(text)}.ts`), text);
  }
  const words = ['--config', '.dependency-cruiser.cjs', '--output-type', 'json', 'packages'];
  const said = execFileSync(depcruise, words, { cwd: copy, encoding: 'utf8', maxBuffer: 256 * 1024 * 1024 });
  const { summary } = JSON.parse(said) as { summary: { violations: { from: string }[] } };
  found = summary.violations.map(({ from }) => from);
});
afterAll(() => rmSync(copy, { recursive: true, force: true }));

// Nothing imports the planted files, so they make no cycle.
test('no import breaks the layer rules, and there is no cycle', () => {
  expect(found.filter((from) => !from.includes('/planted/'))).toEqual([]);
});

test.each(PLANTED)('an upward import planted in %s is found', (room, text) => {
  expect(found).toContain(`packages/${room}/planted/${nameOf(text)}.ts`);
});

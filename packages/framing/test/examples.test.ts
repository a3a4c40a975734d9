import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { patience } from '../../../test/support/waits.js';

test.each([
  ['own', 'the same frames in every cut\ntype 1: 2 bytes\ntype 7: 0 bytes\n'],
  ['kafka', 'metadata produce fetch\n'],
  ['lsp', '{"serverInfo":{"name":"answer to initialize"}}\n'],
  ['slip', 'temperature 21.5\ntemperature 21.6\nMALFORMED_FRAME, FRAME_TOO_LARGE\n'],
])('examples/framing-%s runs and prints what it says', async (name, printed) => {
  const file = fileURLToPath(new URL(`../../../examples/dist/framing-${name}.js`, import.meta.url));
  // A code other than 0 rejects.
  const { stdout } = await promisify(execFile)(process.execPath, [file], { timeout: patience(20_000) });
  expect(stdout).toBe(printed);
});

import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const folder = fileURLToPath(new URL('../../../examples/dist/', import.meta.url));
const examples = readdirSync(folder).filter((file) => file.startsWith('server-') && file.endsWith('.js'));

test('there are examples', () => {
  expect(examples.length).toBeGreaterThanOrEqual(10);
});

test.each(examples)('the example %s runs by itself and ends well', async (file) => {
  const child = spawn(process.execPath, [folder + file], { stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  child.stdout.on('data', (chunk) => (text += String(chunk)));
  child.stderr.on('data', (chunk) => (text += String(chunk)));
  const code = await new Promise((resolve) => child.once('close', resolve));
  expect({ code, text }).toMatchObject({ code: 0 });
  expect(text).not.toMatch(/Warning|Error:/);
});

/** The lab examples, as they stand in the repository. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

/** The output of an example, which `npm run build` has compiled. */
async function run(name: string): Promise<string> {
  const file = fileURLToPath(new URL(`../../../examples/dist/${name}.js`, import.meta.url));
  return (await promisify(execFile)(process.execPath, [file])).stdout;
}

it('examples/lab-reads-and-messages shows what each read carried', async () => {
  expect(await run('lab-reads-and-messages')).toBe(
    'read of 20 bytes: 2 messages, 2 bytes of the next\nread of 6 bytes: 1 messages, 0 bytes of the next\n',
  );
});

it('examples/lab-probe finds the cut that breaks a naive server', async () => {
  expect(await run('lab-probe')).toMatch(/^a cut changes the answer: changed\n"h" then "ello\\n"\n$/);
});

it('examples/lab-faults cuts everything and loses nothing', async () => {
  const output = await run('lab-faults');
  expect(output).toContain('u32be: "hello" "world" "egon"\n');
  expect(output).toMatch(/^no framing: ("[a-z]{1,14}" ?)+\n/);
});

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const run = async (name: string) =>
  (
    await promisify(execFile)(process.execPath, [
      fileURLToPath(new URL(`../examples/dist/${name}.js`, import.meta.url)),
    ])
  ).stdout;

test('examples/remote-own-agent runs a command on an agent of its own', async () => {
  expect(await run('remote-own-agent')).toBe('Linux, code 0, 6 bytes\na b; $(touch /tmp/no) "c"\n');
});

test('examples/remote-lines shows lines, failures, timeouts and aborts', async () => {
  const lines = (await run('remote-lines')).split('\n');
  expect(lines.slice(0, 3)).toEqual(['line 1', 'line 2', 'line 3']);
  expect(lines[3]).toMatch(/^failed 2: ls: /);
  expect(lines[4]).toMatch(/^timeout: /);
  expect(lines[5]).toBe('cancelled');
});

test('examples/remote-streams moves bytes both ways and between runs', async () => {
  const lines = (await run('remote-streams')).split('\n');
  expect(lines.slice(0, 2)).toEqual(['true', '100000']);
  expect(lines[2]).toBe('90433fcbd9e16297e6a7c1dacb1056394743194776e52f78ebf0a44b80b6b14f 6888896');
});

test('examples/remote-files brings files there and back', async () => {
  expect(await run('remote-files')).toBe('placed site/index.html 15\n1 file, 1 the same\nfrom a stream\nfailed 1\n');
});

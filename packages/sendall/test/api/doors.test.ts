/** The package's entry points: each loads its own half, the main one little of it before first use. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';

const folder = mkdtempSync(join(tmpdir(), 'sendall-doors-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Appends each file a program loads to the file named by LOADED. */
const NOTING = `
  import { appendFileSync } from 'node:fs';
  export async function load(url, context, next) {
    if (url.startsWith('file:')) appendFileSync(process.env.LOADED, url + '\\n');
    return await next(url, context);
  }`;
const REGISTER = `
  import { register } from 'node:module';
  register('data:text/javascript,' + encodeURIComponent(${JSON.stringify(NOTING)}));`;

/** The files loaded by a program of these lines. */
function loadedBy(program: string): string[] {
  const list = join(folder, 'loaded');
  const preload = `data:text/javascript,${encodeURIComponent(REGISTER)}`;
  execFileSync('node', ['--import', preload, '--input-type=module', '--eval', program], {
    cwd: fileURLToPath(new URL('../..', import.meta.url)),
    env: { ...process.env, LOADED: list },
  });
  const urls = readFileSync(list, 'utf8').trim().split('\n');
  rmSync(list);
  return urls;
}

test('a program that imports connect loads at most 56 files', () => {
  expect(loadedBy("import { connect } from 'sendall'; void connect;").length).toBeLessThanOrEqual(56);
});

test('neither agent nor keeper nor server is loaded by a caller', () => {
  const caller = "import { connect } from 'sendall'; await connect('unix:/nowhere').catch(() => undefined);";
  const urls = loadedBy(caller);
  expect(urls.find((url) => url.endsWith('/client/run/run.js'))).toBeDefined();
  expect(urls.filter((url) => /\/dist\/(agent|keeper|testing)\/|\/socketserver\//.test(url))).toEqual([]);
});

test('the main entry point exports the same functions as the others', async () => {
  const [main, agent, testing] = await Promise.all([
    import('sendall'),
    import('sendall/agent'),
    import('sendall/testing'),
  ]);
  const wrong = { lisen: [] } as object;
  await expect(main.openAgent(wrong)).rejects.toThrow('lisen');
  await expect(agent.openAgent(wrong)).rejects.toThrow('lisen');
  await expect(main.testHosts(0)).rejects.toThrow('0 is not a number of hosts');
  await expect(testing.testHosts(0)).rejects.toThrow('0 is not a number of hosts');
});

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const names = ['framing', 'socketserver', 'sendall', 'lab'];
let project: string;
const inProject = (command: string, ...args: string[]) =>
  execFileSync(command, args, { cwd: project, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

beforeAll(() => {
  project = mkdtempSync(join(tmpdir(), 'sendall-pack-'));
  execFileSync(
    'npm',
    ['pack', '--silent', '--pack-destination', project, ...names.flatMap((n) => ['-w', `packages/${n}`])],
    {
      cwd: root,
      stdio: 'ignore',
    },
  );
  writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'empty', private: true, type: 'module' }));
  const tarballs = readdirSync(project).filter((file) => file.endsWith('.tgz'));
  inProject(
    'npm',
    'install',
    '--silent',
    '--ignore-scripts',
    '--prefer-offline',
    ...tarballs.map((file) => `./${file}`),
  );
});
afterAll(() => rmSync(project, { recursive: true, force: true }));

test('the four tarballs in one install work in an empty project, install scripts off', () => {
  writeFileSync(
    join(project, 'use.js'),
    `import { lengthPrefixed } from '@sendall/framing';
import { TCPServer } from '@sendall/socketserver';
import { connect, resolveHome } from 'sendall';
import { openAgent } from 'sendall/agent';
import '@sendall/lab';
const home = resolveHome({ SENDALL_HOME: process.argv[2] });
const agent = await openAgent({ home, keeperIdleExit: 100 });
const host = await connect('local', { home });
const { stdout } = await host.run(['echo', 'packed']);
console.log(stdout.trim(), lengthPrefixed().decoder().decode(lengthPrefixed().encoder().encode('x')).length, typeof TCPServer);
await host.close();
await agent.close();
`,
  );
  expect(inProject('node', 'use.js', join(project, 'home'))).toBe('packed 1 function\n');
});

test('hosts for tests come from a door of their own, and from the main one', () => {
  writeFileSync(
    join(project, 'hosts.js'),
    `import * as sendall from 'sendall';
import * as testing from 'sendall/testing';
for (const { testHosts } of [testing, sendall]) {
  const fleet = await testHosts(1);
  console.log((await fleet.hosts[0].run(['echo', 'tested'])).stdout.trim());
  await fleet.close();
}
`,
  );
  expect(inProject('node', 'hosts.js')).toBe('tested\ntested\n');
});

test('what is no door cannot be imported', () => {
  expect(() => inProject('node', '-e', "import('sendall/dist/internal.js')")).toThrow(/ERR_PACKAGE_PATH_NOT_EXPORTED/);
});

test('the packed commands answer', () => {
  expect(inProject('npx', '--no-install', 'sendall', '--version')).toMatch(/^\d+\.\d+\.\d+\n$/);
  expect(inProject('npx', '--no-install', 'wirelab', '--help')).toMatch(/wirelab/);
});

test('the packed types compile in a strict project', () => {
  writeFileSync(
    join(project, 'use.ts'),
    `import { framed, lines, type Decoder } from '@sendall/framing';
import { serve, MessageRequestHandler } from '@sendall/socketserver';
import { connect, type Result } from 'sendall';
import { openAgent, type Agent } from 'sendall/agent';
import { testHosts, type TestFleet } from 'sendall/testing';
const decoder: Decoder = lines().decoder();
export class Echo extends MessageRequestHandler {}
export const run = async (): Promise<Result> => await (await connect('local')).$\`true\`;
export const agent = async (): Promise<Agent> => await openAgent();
export const hosts = async (): Promise<TestFleet> => await testHosts(2);
export { decoder, framed, serve };
`,
  );
  const compiler = join(root, 'node_modules/.bin/tsc');
  const types = ['--typeRoots', join(root, 'node_modules/@types'), '--types', 'node'];
  inProject(
    compiler,
    '--noEmit',
    '--strict',
    '--module',
    'nodenext',
    '--target',
    'es2023',
    '--lib',
    'es2023,esnext.disposable',
    ...types,
    'use.ts',
  );
});

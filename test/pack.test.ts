import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { copyOfRepository, pack } from './support/pack.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const names = ['framing', 'socketserver', 'sendall', 'lab'];
const packages = ['@sendall/framing', '@sendall/socketserver', 'sendall', '@sendall/lab'];
let repository: string;
let project: string;
const inProject = (command: string, ...args: string[]) =>
  execFileSync(command, args, { cwd: project, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

beforeAll(() => {
  repository = copyOfRepository();
  project = mkdtempSync(join(tmpdir(), 'sendall-pack-'));
  const tarballs = pack(repository, project, ...names).map((file) => `./${file}`);
  writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'empty', private: true, type: 'module' }));
  inProject('npm', 'install', '--silent', '--ignore-scripts', '--prefer-offline', '--no-audit', ...tarballs);
});
afterAll(() => {
  for (const folder of [repository, project]) rmSync(folder, { recursive: true, force: true });
});

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

test('hosts for tests come from an entry point of their own, and from the main one', () => {
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

test('only entry points can be imported', () => {
  expect(() => inProject('node', '-e', "import('sendall/dist/internal.js')")).toThrow(/ERR_PACKAGE_PATH_NOT_EXPORTED/);
});

test('the packed commands answer', () => {
  expect(inProject('npx', '--no-install', 'sendall', '--version')).toMatch(/^\d+\.\d+\.\d+\n$/);
  expect(inProject('npx', '--no-install', 'wirelab', '--help')).toMatch(/wirelab/);
});

test('the packed command reads inventories in YAML', () => {
  const home = join(project, 'with-inventory');
  mkdirSync(join(home, 'hosts.d'), { recursive: true, mode: 0o700 });
  writeFileSync(
    join(home, 'hosts.d/a.yaml'),
    'hosts: {"web[1-3]": {url: "tls://{host}"}}\ngroups: {front: "web*!web2"}\n',
  );
  const nodeset = ['npx', '--no-install', 'sendall', 'hosts', 'nodeset', '@front'];
  expect(inProject('env', `SENDALL_HOME=${home}`, ...nodeset)).toBe('web[1,3]\n');
});

/** The contents of an installed package, as paths. */
const filesOf = (name: string) => {
  const folder = join(project, 'node_modules', name);
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .filter((file) => !file.startsWith('node_modules/'));
};

test.each(packages)('%s: each source map and declaration map leads to an existing source', (name) => {
  const files = filesOf(name);
  const maps = files.filter((file) => file.endsWith('.map'));
  expect(maps.some((file) => file.endsWith('.d.ts.map')) && maps.some((file) => file.endsWith('.js.map'))).toBe(true);
  const lost = maps.flatMap((file) => {
    const { sources } = JSON.parse(readFileSync(join(project, 'node_modules', name, file), 'utf8')) as {
      sources: string[];
    };
    return sources.map((source) => join(file, '..', source)).filter((source) => !files.includes(source));
  });
  expect(lost).toEqual([]);
});

test.each(packages)('%s: the links of its pages lead to files inside it, and a changelog is there', (name) => {
  const files = filesOf(name);
  expect(files).toContain('CHANGELOG.md');
  const lost = files
    .filter((file) => file.endsWith('.md') && file !== 'CHANGELOG.md')
    .flatMap((file) => {
      const text = readFileSync(join(project, 'node_modules', name, file), 'utf8');
      const targets = [...text.matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)].map(([, target]) => join(file, '..', target!));
      return targets.filter((target) => !files.includes(target)).map((target) => `${file}: ${target}`);
    });
  expect(lost).toEqual([]);
});

test('nothing in them depends on a single Node version', () => {
  expect(packages.flatMap(filesOf).filter((file) => file.endsWith('.cache'))).toEqual([]);
});

test('one command packs and installs them: sendall, wirelab and their manual pages are below the prefix', () => {
  const prefix = join(project, 'prefix');
  const said = execFileSync('node', ['scripts/install-global.js', '--prefix', prefix], {
    cwd: repository,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  expect(said).toContain(`installed ${prefix}/bin/sendall and ${prefix}/bin/wirelab\n`);
  const version = /^\d+\.\d+\.\d+\n$/;
  for (const name of ['sendall', 'wirelab'])
    expect(execFileSync(join(prefix, 'bin', name), ['--version'], { encoding: 'utf8' })).toMatch(version);
  expect(readdirSync(join(prefix, 'share/man/man1'))).toEqual(
    expect.arrayContaining(['sendall.1', 'sendall-run.1', 'wirelab.1']),
  );
});

test('homepage, bugs and repository are stated once, and each package gets them', () => {
  const path = join(repository, 'package.json');
  const homepage = 'https://sendall.example';
  const repositoryUrl = 'git+https://sendall.example/sendall.git';
  const manifest = JSON.parse(readFileSync(path, 'utf8')) as object;
  writeFileSync(path, JSON.stringify({ ...manifest, homepage, bugs: `${homepage}/bugs`, repository: repositoryUrl }));
  pack(repository, join(project, 'filled'), 'framing');
  expect(JSON.parse(readFileSync(join(repository, 'packages/framing/package.json'), 'utf8'))).toMatchObject({
    homepage,
    bugs: `${homepage}/bugs`,
    repository: { type: 'git', url: repositoryUrl, directory: 'packages/framing' },
  });
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

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { copyOfRepository, pack } from '../../../test/support/pack.js';

// What npm users get: the package alone, in an empty project, without a network.

const root = fileURLToPath(new URL('../../..', import.meta.url));
let project: string;
const inProject = (command: string, ...args: string[]): string =>
  execFileSync(command, args, { cwd: project, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

/** What the compiler says of a file. */
function compile(file: string): string {
  const compilerOptions = {
    strict: true,
    noEmit: true,
    module: 'nodenext',
    target: 'es2023',
    lib: ['es2023', 'esnext.disposable', 'dom'],
    types: ['node'],
    typeRoots: [join(root, 'node_modules/@types')],
  };
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: [file] }));
  const run = spawnSync(join(root, 'node_modules/.bin/tsc'), ['-p', '.'], { cwd: project, encoding: 'utf8' });
  return run.stdout + run.stderr;
}

beforeAll(() => {
  project = mkdtempSync(join(tmpdir(), 'framing-package-'));
  const repository = copyOfRepository();
  const [tarball] = pack(repository, project, 'framing');
  rmSync(repository, { recursive: true });
  writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'empty', private: true, type: 'module' }));
  inProject('npm', 'install', '--silent', '--offline', '--no-audit', `./${tarball}`);
});
afterAll(() => rmSync(project, { recursive: true, force: true }));

test('it brings nothing else along', () => {
  expect(readdirSync(join(project, 'node_modules')).filter((name) => !name.startsWith('.'))).toEqual(['@sendall']);
  expect(readdirSync(join(project, 'node_modules/@sendall'))).toEqual(['framing']);
});

test('ESM', () => {
  writeFileSync(
    join(project, 'use.js'),
    `import { lengthPrefixed, lines } from '@sendall/framing';
const wire = lengthPrefixed().encoder().encode('hi');
console.log(String(lengthPrefixed().decoder().decode(wire)[0]), lines().decoder().decodeText(Buffer.from('a\\nb\\n')));
`,
  );
  expect(inProject('node', 'use.js')).toBe("hi [ 'a', 'b' ]\n");
});

test('a framing alone', () => {
  writeFileSync(
    join(project, 'one.js'),
    `import { lengthPrefixed } from '@sendall/framing/length-prefixed';
import { lines } from '@sendall/framing/lines';
console.log(String(lengthPrefixed().decoder().decode(lengthPrefixed().encoder().encode('hi'))[0]), lines().decoder().decodeText(Buffer.from('a\\n')));
`,
  );
  expect(inProject('node', 'one.js')).toBe("hi [ 'a' ]\n");
});

test('TypeScript, strict, with the types of the package alone', () => {
  writeFileSync(
    join(project, 'use.ts'),
    `import { custom, decodeAsync, decodeWeb, framed, FramingError, lengthPrefixed, lines, presets } from '@sendall/framing';
import type { Decoder, Encoder, Framed, Framing, OnSpan } from '@sendall/framing';
import type { Duplex } from 'node:stream';
const framings: Framing[] = [lengthPrefixed({ bytes: 2 }), lines({ eol: 'crlf' }), presets.kafka()];
const decoder: Decoder = framings[0]!.decoder({ frameTimeout: 5, onError: (e: FramingError) => void e.hint });
const encoder: Encoder = custom('one', (_b, start) => ({ frame: [start, start + 1], consumed: 1 })).encoder();
const span: OnSpan = (buf, start, end) => (buf.length > end - start ? false : undefined);
const link = (socket: Duplex): Framed => framed(socket, lines());
const frames: AsyncIterable<Buffer> = decodeAsync((async function* () { yield new Uint8Array(1); })(), lines());
const batches: ReadableStream<Buffer[]> | unknown = decodeWeb(lines(), { batch: true }).readable;
export { batches, decoder, encoder, frames, link, span };
`,
  );
  expect(compile('use.ts')).toBe('');
});

test('options that do not exist are errors of the compiler', () => {
  writeFileSync(join(project, 'wrong.ts'), "import { lines } from '@sendall/framing';\nlines({ max: 5 });\n");
  expect(compile('wrong.ts')).toMatch(/^wrong\.ts\(2,9\): error TS2353: .*'max'/);
});

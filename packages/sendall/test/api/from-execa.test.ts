import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import ts from 'typescript';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ownAgent, type OwnAgent } from './own-agent.js';

// Compiles and runs the examples of docs/sendall/from-execa.md.

const root = fileURLToPath(new URL('../../../../', import.meta.url));
const page = readFileSync(join(root, 'docs/sendall/from-execa.md'), 'utf8');
const [first = '', ...blocks] = [...page.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => code!);
/** One program, with separate names for each block. */
const program = [first, ...blocks.map((code) => `{\n${code}}\n`)].join('\n');

let own: OwnAgent;
let folder: string;
beforeAll(async () => {
  own = await ownAgent();
  folder = mkdtempSync(join(tmpdir(), 'sendall-from-execa-'));
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  writeFileSync(join(folder, 'input.txt'), 'b\na\nb\n');
  writeFileSync(join(folder, 'page.ts'), program);
});
afterAll(async () => {
  await own[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

test('every block of the page compiles, runs, and prints what it says', async () => {
  const compiled = ts.createProgram([join(folder, 'page.ts')], {
    strict: true,
    module: ts.ModuleKind.NodeNext,
    target: ts.ScriptTarget.ES2022,
    lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
    types: ['node'],
    typeRoots: [join(root, 'node_modules/@types')],
    skipLibCheck: true,
  });
  const problems = ts.getPreEmitDiagnostics(compiled);
  expect(problems.map(({ messageText, start }) => [ts.flattenDiagnosticMessageText(messageText, '\n'), start])).toEqual(
    [],
  );
  compiled.emit();
  const { stdout } = await promisify(execFile)(process.execPath, ['page.js'], {
    cwd: folder,
    env: { ...process.env, SENDALL_HOME: own.home.state },
  });
  const said = [...program.matchAll(/\/\/ → (.*)$/gm)].map(([, text]) => text!);
  expect(said.length).toBeGreaterThan(30);
  expect(stdout.split('\n').slice(0, -1)).toEqual(said);
});

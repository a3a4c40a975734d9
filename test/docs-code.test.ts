// All TypeScript on the pages compiles under strict, as a reader would paste it.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { afterAll, beforeAll, expect, test } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const pages = execFileSync('git', ['ls-files', '*.md'], { cwd: root, encoding: 'utf8' }).trim().split('\n');

/** Supplied by readers: a socket of theirs. */
const given = `declare const socket: import('node:net').Socket;\n`;

/**
 * A page's programs. Each begins with a block that imports something; the blocks behind it, up to the next such one, go
 * on with its names, each with names of its own.
 */
function programsOf(page: string): { at: number; code: string }[] {
  const text = readFileSync(join(root, page), 'utf8');
  const programs: { at: number; code: string }[] = [];
  for (const { 1: code = '', index } of text.matchAll(/^```ts\n(.*?)^```$/gms)) {
    const last = programs.at(-1);
    if (last === undefined || /^import /m.test(code)) {
      programs.push({ at: text.slice(0, index).split('\n').length, code });
    } else last.code += `{\n${code}}\n`;
  }
  return programs;
}

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sendall-docs-'));
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  writeFileSync(join(folder, 'given.d.ts'), given);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('every block compiles', () => {
  const files = pages.flatMap((page) =>
    programsOf(page).map(({ at, code }) => {
      const file = join(folder, `${page.replaceAll('/', '+')}+${at}.ts`);
      writeFileSync(file, `${code}\nexport {};\n`);
      return file;
    }),
  );
  expect(files.length).toBeGreaterThan(10);
  const program = ts.createProgram([join(folder, 'given.d.ts'), ...files], {
    strict: true,
    noEmit: true,
    module: ts.ModuleKind.NodeNext,
    target: ts.ScriptTarget.ES2023,
    lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
    types: ['node'],
    typeRoots: [join(root, 'node_modules/@types')],
    skipLibCheck: true,
  });
  const problems = ts.getPreEmitDiagnostics(program).map(({ file, start, messageText }) => {
    const line = file === undefined ? 0 : file.getLineAndCharacterOfPosition(start ?? 0).line;
    const where = file === undefined ? '' : `${basename(file.fileName)}, line ${line} of it: `;
    return where + ts.flattenDiagnosticMessageText(messageText, '\n');
  });
  expect(problems).toEqual([]);
});

// The rules of "Dialect" in CONTRIBUTING.md that no linter checks.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const files = execFileSync('git', ['ls-files', 'packages/*/src/*.ts'], { cwd: root, encoding: 'utf8' })
  .split('\n')
  .filter((file) => file !== '');

/** A literal, or an expression of literals and constants: it never changes and is not an object. */
function isPrimitive(node: ts.Expression): boolean {
  if (ts.isParenthesizedExpression(node) || ts.isAsExpression(node)) return isPrimitive(node.expression);
  if (ts.isPrefixUnaryExpression(node)) return isPrimitive(node.operand);
  if (ts.isBinaryExpression(node)) return isPrimitive(node.left) && isPrimitive(node.right);
  if (ts.isIdentifier(node)) return /^[A-Z][A-Z0-9_]+$/.test(node.text);
  return ts.isLiteralExpression(node);
}

function* wrongConstants(source: ts.SourceFile): Generator<string> {
  for (const statement of source.statements) {
    if (!ts.isVariableStatement(statement) || (statement.declarationList.flags & ts.NodeFlags.Const) === 0) continue;
    for (const { name, initializer } of statement.declarationList.declarations) {
      if (!ts.isIdentifier(name) || initializer === undefined || !isPrimitive(initializer)) continue;
      if (!/^[A-Z][A-Z0-9_]*$/.test(name.text)) yield name.text;
    }
  }
}

function* wrongPrivates(source: ts.SourceFile): Generator<string> {
  const found: string[] = [];
  const look = (node: ts.Node): void => {
    const modifiers = ts.canHaveModifiers(node) ? (ts.getModifiers(node) ?? []) : [];
    const isPrivate = modifiers.some(({ kind }) => kind === ts.SyntaxKind.PrivateKeyword);
    if (isPrivate && !ts.isConstructorDeclaration(node)) found.push(node.getText(source).slice(0, 60));
    ts.forEachChild(node, look);
  };
  look(source);
  yield* found;
}

/** The violations in a file, one line each. */
const rules: Record<string, (text: string, file: string) => Iterable<string>> = {
  heads: (text) => (text.startsWith('/**') ? [] : ['does not begin with /** … */']),
  constants: (text, file) => wrongConstants(ts.createSourceFile(file, text, ts.ScriptTarget.ES2023)),
  privacy: (text, file) => wrongPrivates(ts.createSourceFile(file, text, ts.ScriptTarget.ES2023)),
  defaults: (text) =>
    [...text.matchAll(/^ *(?:\/\*\*|\*).*(?<!@)\bDefault(?::| [`'\d]| true| false).*$/gm)].map(([line]) => line.trim()),
};

describe.each(Object.entries(rules))('%s', (_rule, check) => {
  test.each(['framing', 'socketserver', 'sendall', 'lab'])('%s keeps the rule', (name) => {
    const wrong = files
      .filter((file) => file.startsWith(`packages/${name}/`))
      .flatMap((file) => [...check(readFileSync(`${root}${file}`, 'utf8'), file)].map((what) => `${file}: ${what}`));
    expect(wrong).toEqual([]);
  });
});

/** What --exclude leaves out, against a reference that is as simple as it is slow. */
import * as fc from 'fast-check';
import { mkdirSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { Exclusion } from '../../dist/transfer/files/exclusion.js';
import { folder, listing, transfer } from './both-ends.js';

/** One name's part of a pattern, or all of it, as a regular expression. */
function expressionOf(glob: string): RegExp {
  let text = '';
  for (let at = 0; at < glob.length;) {
    const rest = glob.slice(at);
    const [, characters] = /^\[(![^][^\]]*|[^!][^\]]*)\]/.exec(rest) ?? [];
    if (rest.startsWith('**/') && (at === 0 || glob[at - 1] === '/')) [text, at] = [`${text}(?:[^]*/)?`, at + 3];
    else if (rest.startsWith('**')) [text, at] = [`${text}[^]*`, at + 2];
    else if (rest[0] === '*') [text, at] = [`${text}[^/]*`, at + 1];
    else if (rest[0] === '?') [text, at] = [`${text}[^/]`, at + 1];
    else if (characters !== undefined) [text, at] = [text + classOf(characters), at + characters.length + 2];
    else {
      const literal = rest[0] === '\\' && rest.length > 1 ? rest[1]! : rest[0]!;
      text += escaped(literal);
      at += rest[0] === '\\' && rest.length > 1 ? 2 : 1;
    }
  }
  return new RegExp(`^${text}$`);
}

/** What stands between the brackets, as a look at one character that is no slash. */
function classOf(characters: string): string {
  const not = characters.startsWith('!');
  const within = (not ? characters.slice(1) : characters).replaceAll(
    /([^])(?:-([^]))?/g,
    (_, from: string, to = from) => (from > to ? '' : `${escaped(from)}-${escaped(to)}`),
  );
  return `(?!/)[${not ? '^' : ''}${within}]`;
}

const escaped = (character: string): string => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`;

function isLeftOut(pattern: string, path: string, isFolder: boolean): boolean {
  const foldersOnly = pattern.length > 1 && pattern.endsWith('/');
  const glob = foldersOnly ? pattern.slice(0, -1) : pattern;
  if (foldersOnly && !isFolder) return false;
  const text = glob.includes('/') ? path : path.slice(path.lastIndexOf('/') + 1);
  return expressionOf(glob.replace(/^\//, '')).test(text);
}

const name = fc.string({
  unit: fc.constantFrom('a', 'b', 'c', '-', '[', ']', '!', '*', '?', '\\', '\n', '\xff'),
  minLength: 1,
  maxLength: 4,
});
const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((names) => names.join('/'));
const part = fc.constantFrom(
  'a',
  'b',
  'c',
  '/',
  '/',
  '*',
  '*',
  '?',
  '**',
  '**/',
  '/**/',
  '[ab]',
  '[!a]',
  '[a-c]',
  '[]a]',
  '[c-a]',
  '[-a]',
  '[',
  ']',
  '!',
  '-',
  '\\',
  '\\*',
  '\\a',
  '\n',
);
const pattern = fc.array(part, { minLength: 1, maxLength: 6 }).map((parts) => parts.join(''));

test('a pattern leaves out what its regular expression matches, and nothing else', () => {
  fc.assert(
    fc.property(pattern, path, fc.boolean(), (glob, text, isFolder) => {
      const bytes = Buffer.from(text, 'latin1');
      const last = bytes.subarray(bytes.lastIndexOf('/') + 1);
      const exclusion = new Exclusion([Buffer.from(glob, 'latin1')]);
      expect(exclusion.has(bytes, last, isFolder)).toBe(isLeftOut(glob, text, isFolder));
    }),
    { numRuns: 20_000 },
  );
});

test('a pattern that is made of names of the path leaves it out', () => {
  const stars = fc.constantFrom('*', '?*', '**', '[!/]*');
  fc.assert(
    fc.property(
      fc.array(fc.string({ unit: fc.constantFrom('a', 'b', '.'), minLength: 1 }), { minLength: 2 }),
      stars,
      (names, star) => {
        const text = Buffer.from(names.join('/'));
        const last = Buffer.from(names.at(-1)!);
        const glob = [star, ...names.slice(1)].join('/');
        expect(new Exclusion([Buffer.from(glob)]).has(text, last, false)).toBe(true);
        expect(new Exclusion([Buffer.from(`**/${names.at(-1)}`)]).has(text, last, false)).toBe(true);
      },
    ),
  );
});

test('a pattern of many stars takes no time that grows with their number', () => {
  const glob = Buffer.from(`${'**/*a'.repeat(200)}b`);
  const text = Buffer.from('a/'.repeat(2000).slice(0, -1));
  expect(new Exclusion([glob]).has(text, Buffer.from('a'), false)).toBe(false);
});

test('what a folder that is left out has is left out with it, and stays at the destination', async () => {
  const [from, to] = [`${folder()}/top`, `${folder()}/top`];
  for (const top of [from, to])
    for (const inner of ['keep', 'build/deep', 'docs/build']) mkdirSync(`${top}/${inner}`, { recursive: true });
  for (const file of ['keep/a.log', 'keep/a.txt', 'build/deep/x', 'docs/build/y', 'z.log'])
    writeFileSync(`${from}/${file}`, file);
  writeFileSync(`${to}/build/deep/old`, 'old');
  writeFileSync(`${to}/keep/old`, 'old');
  await transfer([from], to, { into: false, delete: true, exclude: ['*.log', '/build/'] });
  const names = listing(to).map((line) => line.replace(/ .*/s, ''));
  expect(names).toEqual([
    '/build/',
    '/build/deep/',
    '/build/deep/old',
    '/docs/',
    '/docs/build/',
    '/docs/build/y',
    '/keep/',
    '/keep/a.txt',
  ]);
});

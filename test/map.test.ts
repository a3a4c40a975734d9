/** The map in docs/architecture.md is true: every room and file in its tables exists, and every room is in it. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const SENDALL = 'packages/sendall/src';
const page = readFileSync(join(root, 'docs/architecture.md'), 'utf8');

/** The rows of all tables whose first column has this heading, each as its cells. */
function tables(heading: string): string[][] {
  const found = [...page.matchAll(new RegExp(`^\\| ${heading} \\|.*\\n\\|[-|]+\\|\\n((?:\\|.*\\n)+)`, 'gm'))];
  return found.flatMap(([, lines = '']) =>
    lines
      .trim()
      .split('\n')
      .map((line) => line.split('|').slice(1, -1)),
  );
}
const quoted = (text = ''): string[] => [...text.matchAll(/`([^`]+)`/g)].map(([, word = '']) => word);
const folders = (path: string): string[] =>
  readdirSync(join(root, path), { withFileTypes: true }).flatMap((each) => (each.isDirectory() ? [each.name] : []));

/** A room's folder, from the root of the repository. */
function folderOf(room: string): string {
  const [first = '', rest = ''] = room.replace(/\/$/, '').split(/\/(.*)/);
  const other = ['framing', 'socketserver', 'lab'].includes(first);
  return other ? `packages/${first}/src/${rest}` : `${SENDALL}/${room.replace(/\/$/, '')}`;
}
const rooms = tables('room').flatMap(([room]) => quoted(room).map(folderOf));

test('every room in the tables exists', () => {
  expect(rooms.length).toBeGreaterThan(30);
  expect(rooms.filter((room) => !existsSync(join(root, room)))).toEqual([]);
});

test.each([SENDALL, ...['client', 'keeper', 'cli'].map((room) => `${SENDALL}/${room}`)])(
  'every room of %s is in the tables',
  (path) => expect(folders(path).filter((name) => !rooms.includes(`${path}/${name}`))).toEqual([]),
);

test.each(['framing', 'socketserver', 'lab'])('every room of %s is in the tables', (name) => {
  const path = `packages/${name}/src`;
  expect(folders(path).filter((room) => !rooms.includes(`${path}/${room}`))).toEqual([]);
});

const questions = tables('question');

test('the map answers at least ten questions', () => expect(questions.length).toBeGreaterThanOrEqual(10));

test.each(questions)('where do I add %s', (_question, answer) => {
  const paths = quoted(answer).filter((word) => /[./]/.test(word));
  expect(paths).not.toEqual([]);
  expect(paths.filter((path) => !existsSync(join(root, path)) && !existsSync(join(root, SENDALL, path)))).toEqual([]);
});

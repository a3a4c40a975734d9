import { expect, test } from 'vitest';
import { placedPath, sentPath } from '../../dist/transfer/reported-path.js';

const b = (text: string): Buffer => Buffer.from(text, 'latin1');

test.each<[string, boolean, string, string]>([
  ['/srv/x', false, 'app.tar', '/srv/x'],
  ['/srv', true, 'app.tar', '/srv/app.tar'],
  ['/srv/', true, 'tree/a/b', '/srv/tree/a/b'],
  ['/srv/new', false, 'tree/a/b', '/srv/new/a/b'],
  ['\xff', false, 'tree/\xfe', '\xff/\xfe'],
])('put %s, into it: %s, places %s at %s', (destination, into, path, place) => {
  expect(placedPath(b(destination), into, b(path)).toString('latin1')).toBe(place);
});

test.each<[string[], string, string]>([
  [['/srv/x'], 'x', '/srv/x'],
  [['/srv/tree/'], 'tree/a', '/srv/tree/a'],
  [['/a/one', '/b/two', '/c/two'], 'two/x', '/b/two/x'],
  [['relative'], 'relative', 'relative'],
  [['/srv/.'], 'a/b', 'a/b'],
  [['/'], 'etc/x', 'etc/x'],
])('get %s sends %s from %s', (sources, path, place) => {
  expect(sentPath(sources.map(b), b(path)).toString('latin1')).toBe(place);
});

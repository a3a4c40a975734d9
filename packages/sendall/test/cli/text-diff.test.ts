import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { differences } from '../../dist/cli/show/text-diff.js';

const text = (lines: readonly string[]): string => lines.join('\n');
const count = (shown: readonly string[], mark: string): number => shown.filter((line) => line.startsWith(mark)).length;

/** Applies a diff to `left`. */
function patched(left: string, shown: readonly string[]): string {
  const [lines, result] = [left.split('\n'), [] as string[]];
  let at = 0;
  for (const line of shown) {
    const place = /^@@ line (\d+) @@$/.exec(line)?.[1];
    if (place !== undefined) while (at < Number(place) - 1) result.push(lines[at++]!);
    else if (line.startsWith('+')) result.push(line.slice(1));
    else if (line.startsWith('-')) expect(line.slice(1)).toBe(lines[at++]);
  }
  return text([...result, ...lines.slice(at)]);
}

describe('the lines in which two texts differ', () => {
  test('make the other text of the one', async () => {
    const lines = fc.array(fc.constantFrom('a', 'b', 'c', 'd', ''), { maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(lines, lines, async (a, b) => {
        const [left, right] = [text(a), text(b)];
        expect(patched(left, await differences(left, right))).toBe(right);
        expect(patched(left, await differences(left, right, { maxEdits: 1 }))).toBe(right);
      }),
    );
  });

  test('are shown alone, with their line numbers', async () => {
    expect(await differences('a\nb\nc\nd', 'a\nx\nc\nd\ne')).toEqual([
      '@@ line 2 @@',
      '-b',
      '+x',
      '@@ line 5 @@',
      '+e',
    ]);
    expect(await differences('same\n', 'same\n')).toEqual([]);
  });

  test('are few in two long texts that differ in few', async () => {
    const left = Array.from({ length: 50_000 }, (_, i) => `line ${i}`);
    const right = left.map((line, i) => (i % 10_000 === 5 ? `${line} changed` : line));
    const shown = await differences(text(left), text(right));
    expect([shown.length, count(shown, '+'), count(shown, '-')]).toEqual([15, 5, 5]);
  });

  test('are all of them where no line is common', async () => {
    const lines = (name: string): string => text(Array.from({ length: 20_000 }, (_, i) => `${name} ${i}`));
    const shown = await differences(lines('left'), lines('right'));
    expect([shown[0], count(shown, '-'), count(shown, '+')]).toEqual(['@@ line 1 @@', 20_000, 20_000]);
  });

  test('are no longer searched once the bounds are exceeded, and the output says so', async () => {
    const left = Array.from({ length: 500 }, (_, i) => `line ${i}`);
    const right = left.map((_, i) => `line ${(i * 271) % 500}`);
    const shown = await differences(text(['first', ...left]), text(['first', ...right]), { maxEdits: 10 });
    expect(shown[0]).toMatch(/^@@ .* too different .* all lines between the equal ends follow @@$/);
    expect(patched(text(['first', ...left]), shown)).toBe(text(['first', ...right]));
  });
});

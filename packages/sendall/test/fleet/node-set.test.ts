import { execFileSync } from 'node:child_process';
import * as fc from 'fast-check';
import { NodeSet } from 'sendall';
import { describe, expect, test } from 'vitest';

/** What Debian's `nodeset` makes of the same expressions: folded, and expanded. */
function oracle(expressions: readonly string[]): { folded: string; names: string[] }[] {
  const script = `
import sys
from ClusterShell.NodeSet import NodeSet
for line in sys.stdin:
    nodes = NodeSet(line.rstrip('\\n'))
    print(nodes, '|', ' '.join(nodes))
`;
  const lines = execFileSync('/usr/bin/python3', ['-c', script], {
    input: `${expressions.join('\n')}\n`,
    encoding: 'utf8',
  });
  return lines
    .trimEnd()
    .split('\n')
    .map((line) => {
      const [folded, names] = line.split('|');
      return { folded: folded!.trim(), names: names!.trim().split(' ').filter(Boolean) };
    });
}

const number = fc.oneof(
  fc.nat(14).map(String),
  fc.tuple(fc.nat(14), fc.integer({ min: 2, max: 3 })).map(([value, width]) => String(value).padStart(width, '0')),
);
const range = fc.tuple(number, fc.nat(9), fc.option(fc.integer({ min: 1, max: 3 }))).map(([low, span, step]) => {
  const high = String(Number(low) + span).padStart(low.startsWith('0') ? low.length : 0, '0');
  return `${low}-${high}${step === null ? '' : `/${step}`}`;
});
const indexed = fc.oneof(
  number,
  fc.array(fc.oneof(number, range), { minLength: 1, maxLength: 3 }).map((parts) => `[${parts.join()}]`),
  fc.constant(''),
);
const word = fc
  .tuple(fc.constantFrom('a', 'web', 'n-', 'rack'), indexed, fc.constantFrom('', '', '.x', 'z'))
  .map((parts) => parts.join(''));
const expression = fc
  .tuple(word, fc.array(fc.tuple(fc.constantFrom(',', ',', ',', '!', '&', '^'), word), { maxLength: 5 }))
  .map(([first, rest]) => first + rest.flat().join(''));

describe('a set of names', () => {
  test('folds and expands as ClusterShell does, on 1,000 random expressions', () => {
    const expressions = fc.sample(expression, { numRuns: 1000, seed: 7 });
    const expected = oracle(expressions);
    const mine = expressions.map((text) => {
      const set = new NodeSet(text);
      return { folded: set.toString(), names: [...set] };
    });
    expect(mine).toEqual(expected);
  });

  test('its notation stands for itself, in several dimensions too', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(3), fc.nat(3)), { maxLength: 12 }), (places) => {
        const names = new Set(places.map(([rack, node]) => `rack${rack}n${node}`));
        const set = new NodeSet(names);
        expect(new Set(new NodeSet(set.toString()))).toEqual(names);
      }),
    );
    expect(new NodeSet('rack[1-2]n[1-3]').toString()).toBe('rack[1-2]n[1-3]');
  });

  test('is joined, cut, taken away and compared', () => {
    const set = new NodeSet('web[1-4]');
    expect(set.union('web9').toString()).toBe('web[1-4,9]');
    expect(set.intersect('web[3-6]').toString()).toBe('web[3-4]');
    expect(set.except(new NodeSet('web2')).toString()).toBe('web[1,3-4]');
    expect(set.xor(['web4', 'web5']).toString()).toBe('web[1-3,5]');
    expect([set.size, set.has('web4'), set.has('web04')]).toEqual([4, true, false]);
  });

  test('is split into parts that differ by one at most', () => {
    expect(new NodeSet('web[1-7]').split(3).map(String)).toEqual(['web[1-2]', 'web[3-5]', 'web[6-7]']);
    expect(new NodeSet('web[1-2]').split(5).map(String)).toEqual(['web1', 'web2']);
    expect(() => new NodeSet('a').split(0)).toThrow('1 or more parts');
  });

  test('a comma may stand before what is taken away; an address is a name', () => {
    expect(new NodeSet('web[1-3],!web2').toString()).toBe('web[1,3]');
    expect([...new NodeSet('a,tls://[::1]:7433')]).toEqual(['a', 'tls://[::1]:7433']);
  });

  test.each([
    ['web[1-', 'not closed'],
    ['web[3-1]', 'backwards'],
    ['web[1-010]', 'different lengths'],
    ['web[1-9/0]', 'step of 0'],
    ['web[]', 'not a number'],
    ['web[a-b]', 'not a number'],
    ['a&', 'a name is missing after "&"'],
    ['!a', 'a name is missing before "!"'],
    ['a&,b', 'a name is missing between'],
    ['@tag', 'no list of hosts'],
    ['web[1-99999999999]', '100000 names at most'],
    ['a[1-1000]b[1-1000]', '100000 names at most'],
  ])('%s is refused: %s', (text, why) => {
    expect(() => new NodeSet(text)).toThrow(why);
  });

  test('has a limit with a name, and knows its options', () => {
    expect(() => new NodeSet('a[1-11]', { maxSize: 10 })).toThrow('maxSize');
    expect(() => new NodeSet('a', { maxsize: 10 } as object)).toThrow('no node set option "maxsize"');
  });
});

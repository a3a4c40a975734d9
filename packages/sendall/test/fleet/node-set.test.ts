import * as fc from 'fast-check';
import { NodeSet } from 'sendall';
import { describe, expect, test } from 'vitest';
import { drawSeed } from '../../../../test/support/seed.js';
import { askClusterShell, literals } from './cluster-shell.js';

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

const wide = fc
  .array(
    fc
      .tuple(fc.constantFrom('r', 'dc'), indexed, fc.constantFrom('n', '-n'), indexed, fc.constantFrom('', '.x'))
      .map((parts) => parts.join('')),
    { minLength: 1, maxLength: 4 },
  )
  .map((parts) => parts.join());

/** So many names that follow one with a number at its end. */
function following(name: string, count: number): string[] {
  const digits = /\d{1,14}$/.exec(name)![0];
  const text = name.slice(0, name.length - digits.length);
  return Array.from({ length: count }, (_, i) => text + String(Number(digits) + i).padStart(digits.length, '0'));
}

const sorted = (names: Iterable<string>): string[] => [...names].sort();
const words = (folded: string): number => folded.replace(/\[[^\]]*\]/g, '').split(',').length;
const hasDimensions = (name: string): boolean => /\d\D+\d/.test(name);

/** ClusterShell puts the digits beside a bracket to both ends of a range, and refuses what that makes wrong. */
const digitsBeside: Readonly<Record<string, string>> = {
  'prod-1[10-345]': 'prod-[110-199,1100-1345]',
  'prod-2[10-320]': 'prod-[210-299,2100-2320]',
  'prod-0[10-345]': 'prod-[010-099,0100-0345]',
  'prod-02[10-345]': 'prod-[0210-0299,02100-02345]',
  'prod-0[01-06/2]0': 'prod-[0010,0030,0050]',
  'prod-0[1-7/2,9]0': 'prod-[010,030,050,070,090]',
  'prod-0[1-5/2,7-9]0': 'prod-[010,030,050,070,080,090]',
  'prod-00[1-6/2]0': 'prod-[0010,0030,0050]',
  '0[0-10]': '[00-09,010]',
  '0[7-10]': '[07-09,010]',
  '0[7-9,10]': '[07-09,010]',
  '[0-10]0': '[00,10,20,30,40,50,60,70,80,90,100]',
  '0[0-10]0': '[000,010,020,030,040,050,060,070,080,090,0100]',
  '0123[0-100]L6': '[01230-01239,012310-012399,0123100]L6',
  'n[1-4]0[3-4]': 'n[103-104,203-204,303-304,403-404]',
  'n6[1-4][3-4]': 'n[613-614,623-624,633-634,643-644]',
  'n6[1-4]56[3-4]': 'n[61563-61564,62563-62564,63563-63564,64563-64564]',
};

describe("ClusterShell's own expressions", () => {
  const isOurs = (text: string) => text in digitsBeside || text.startsWith('[1-30][4-9]') || text === 'x[1-30][4-9]p';
  /** Numbers below 0, and names with blanks in them: there are no such hosts. */
  const isRefused = (text: string) => /\[-|,-|tigrou (\[|0)/.test(text);

  test('that it takes stand for the same names here', () => {
    for (const [text, folded] of literals()) {
      if (folded === undefined || isOurs(text) || isRefused(text)) continue;
      const set = new NodeSet(text, { maxSize: 2_000_000 });
      const mine = set.toString();
      if (mine === folded) continue;
      // Its words of several dimensions stand with the largest first, ours in the order of the names.
      expect([text, [...set].every(hasDimensions)]).toEqual([text, true]);
      expect([text, sorted(set)]).toEqual([text, sorted(new NodeSet(folded))]);
      expect(words(mine), text).toBeLessThanOrEqual(words(folded));
    }
  });

  test('that it refuses are refused here', () => {
    for (const [text, folded] of literals())
      if (folded === undefined && !isOurs(text)) expect(() => new NodeSet(text), text).toThrow(/is wrong at character/);
  });

  test.each(Object.entries(digitsBeside))('with digits beside a bracket are written together: %s', (text, folded) => {
    expect(new NodeSet(text).toString()).toBe(folded);
  });

  test.each(['n[-5]', 'n[-12-12]', 'tigrou [0-3]', 'tigrou[1], [2'])('of no hosts are refused: %s', (text) => {
    expect(() => new NodeSet(text)).toThrow(/is wrong at character/);
  });
});

describe('a set of names', () => {
  test('folds and expands as ClusterShell does, on 1,000 random expressions', () => {
    const expressions = fc.sample(expression, { numRuns: 1000, seed: drawSeed() });
    const mine = expressions.map((text) => {
      const set = new NodeSet(text);
      return { folded: set.toString(), names: [...set] };
    });
    expect(mine).toEqual(askClusterShell(expressions));
  });

  test('is the same in several dimensions, on 500 random expressions', () => {
    const expressions = fc.sample(wide, { numRuns: 500, seed: drawSeed() });
    const mine = expressions.map((text) => ({ text, names: sorted(new NodeSet(text)) }));
    const theirs = askClusterShell(expressions);
    expect(mine).toEqual(theirs.map(({ names }, i) => ({ text: expressions[i], names: sorted(names) })));
  });

  test('stays the same when written and read again', () => {
    fc.assert(
      fc.property(fc.oneof(expression, wide), (text) => {
        const set = new NodeSet(text);
        expect(sorted(new NodeSet(set.toString()))).toEqual(sorted(set));
        const parts = new NodeSet([...set]);
        expect(parts.toString()).toBe(set.toString());
      }),
      { numRuns: 1000 },
    );
  });

  test('is read again with all names, with digits of any length', () => {
    const digits = fc.stringMatching(/^\d{1,17}$/);
    const name = fc.oneof(
      digits,
      fc.tuple(digits, digits).map(([a, b]) => `r${a}n${b}`),
    );
    fc.assert(
      fc.property(fc.array(name, { maxLength: 30 }), fc.nat(110), (names, count) => {
        // Beside them some that follow one another, up to another number of digits.
        const all = [...names, ...names.slice(0, 2).flatMap((each) => following(each, count))];
        const set = new NodeSet(all);
        expect(sorted(new NodeSet(set.toString()))).toEqual(sorted(new Set(all)));
        expect(sorted(set.contiguous().flatMap((part) => [...part]))).toEqual(sorted(new Set(all)));
      }),
    );
    expect(new NodeSet(['09', '10', '99', '100', '98'].map((n) => `n${n}`)).toString()).toBe('n[09-10,98-100]');
    expect(new NodeSet('n[01-99],n100').toString()).toBe('n[01-99,100]');
  });

  test('its notation parses to the same set, in several dimensions too', () => {
    expect(new NodeSet('rack[1-2]n[1-3]').toString()).toBe('rack[1-2]n[1-3]');
    expect(new NodeSet('dc1n2,dc2n2,dc1n1,dc2n1').toString()).toBe('dc[1-2]n[1-2]');
    expect(new NodeSet('dc[ 1 - 2 ]n[ 2-6 / 2, 9 ]').toString()).toBe('dc[1-2]n[2,4,6,9]');
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
    expect(new NodeSet('web[1-7]').split(3).map(String)).toEqual(['web[1-3]', 'web[4-5]', 'web[6-7]']);
    expect(new NodeSet('web[1-2]').split(5).map(String)).toEqual(['web1', 'web2']);
    expect(() => new NodeSet('a').split(0)).toThrow('1 or more parts');
  });

  test('is cut at the gaps of its numbers', () => {
    const parts = new NodeSet('dc[1,3]n[1-2,4-5],a,b[1-3,05-06]').contiguous();
    const expected = ['a', 'b[1-3]', 'b[05-06]', 'dc1n[1-2]', 'dc1n[4-5]', 'dc3n[1-2]', 'dc3n[4-5]'];
    expect(parts.map(String)).toEqual(expected);
  });

  test('gives those at some places of its order', () => {
    const set = new NodeSet('web[1-10],db');
    expect(set.slice('0').toString()).toBe('db');
    expect(set.slice('1-5/2, 10-999999999').toString()).toBe('web[1,3,5,10]');
    expect(() => set.slice('2-1')).toThrow('the places "2-1" are wrong at character 1: the range 2-1 runs backwards');
  });

  test('a comma may precede a difference; an address is a name', () => {
    expect(new NodeSet('web[1-3],!web2').toString()).toBe('web[1,3]');
    expect([...new NodeSet('a,tls://[::1]:7433')]).toEqual(['a', 'tls://[::1]:7433']);
    expect([...new NodeSet('unix:/run/a=b?*/agent.sock')]).toEqual(['unix:/run/a=b?*/agent.sock']);
  });

  test.each([
    ['web[1-', 'at character 4: this "[" is not closed: write "]"'],
    ['a,web[3-1]', 'at character 7: the range 3-1 runs backwards: write 1-3'],
    ['web[1, 3-1]', 'at character 8: the range 3-1'],
    ['web[1-010]', 'the ends of 1-010 have different lengths: write as many zeros at both, as in 001-010'],
    ['web[1-9/0]', 'step of 0: write 1 or more'],
    ['web[]', 'a number is missing: write 3'],
    ['web[a-b]', '"a-b" is not a number or a range: write 3'],
    ['web[1234567890123456]', 'more than 15 digits'],
    ['web[[1]', 'at character 4: this bracket contains another "["'],
    ['web1]', 'at character 5: this "]" closes no bracket'],
    ['web [1-3]', 'at character 5: a blank is before this "["'],
    ['a&', 'at character 2: a name is missing after "&"'],
    ['!a', 'at character 1: a name is missing before "!"'],
    ['a&,b', 'at character 3: a name is missing between "&" and ","'],
    ['@tag', 'no list of hosts'],
    ['web[1-99999999999]', '100000 names at most'],
    ['a[1-1000]b[1-1000]', '100000 names at most'],
  ])('%s is refused: %s', (text, why) => {
    expect(() => new NodeSet(text)).toThrow(why);
  });

  test('a long expression is shown around the place that is wrong', () => {
    const text = [...Array(1000).keys(), '!', ...Array(1000).keys()]
      .map((i) => `n${i}`)
      .join()
      .replace('n!', '[');
    expect(() => new NodeSet(text)).toThrow(/^the set "….{200}…" is wrong at character 4891: /);
  });

  test('has a limit with a name, and knows its options', () => {
    expect(() => new NodeSet('a[1-11]', { maxSize: 10 })).toThrow('maxSize');
    expect(() => new NodeSet('a', { maxsize: 10 } as object)).toThrow('no node set option "maxsize"');
  });
});

const groups: Readonly<Record<string, string>> = {
  rack1: 'n[1-4]',
  rack2: 'n[5-8]',
  rack3: 'n[9-12]',
  racks: '@rack[1-2],@rack3',
  odd: 'n[1-11/2]',
  front: '@racks!@rack2&@odd',
  most: '@front^@rack3,gpu[1-2]',
};
const lookUp = (word: string) => groups[word.slice(1)];

describe('groups', () => {
  test('stand for their own expressions, as in ClusterShell, on 300 random expressions', () => {
    const group = fc.constantFrom(...Object.keys(groups).map((name) => `@${name}`), '@rack[1-2]', '@rack[1-3/2]');
    const mixed = fc.array(fc.tuple(fc.constantFrom(',', '!', '&', '^'), fc.oneof(group, fc.constant('n[3-6]'))), {
      minLength: 1,
      maxLength: 6,
    });
    const expressions = fc
      .sample(mixed, { numRuns: 300, seed: drawSeed() })
      .map((parts) => parts.flat().slice(1).join(''));
    const mine = expressions.map((text) => {
      const set = new NodeSet(text, { lookUp });
      return { folded: set.toString(), names: [...set] };
    });
    expect(mine).toEqual(askClusterShell(expressions, groups));
  });

  test('that hold themselves are named', () => {
    const circle: Record<string, string> = { '@a': 'x,@b', '@b': '@c', '@c': '@b!y' };
    expect(() => new NodeSet('@a', { lookUp: (word) => circle[word] })).toThrow(
      'the group @b holds itself (@b in @c in @b): remove it from one of them',
    );
  });

  test('are read once each, and stand 100 deep at most', () => {
    let asked = 0;
    const doubled = (word: string) => {
      const depth = Number(/^@g(\d+)$/.exec(word)?.[1] ?? Number.NaN);
      if (Number.isNaN(depth)) return undefined;
      asked++;
      return depth === 0 ? 'n1' : `@g${depth - 1},@g${depth - 1}`;
    };
    expect(new NodeSet('@g60', { lookUp: doubled }).toString()).toBe('n1');
    expect(asked).toBe(61);
    expect(() => new NodeSet('@g100', { lookUp: doubled })).toThrow('more than 100 levels deep');
    expect(() => new NodeSet('@g9', { lookUp: doubled, maxDepth: 5 })).toThrow('maxDepth');
  });

  test('that are wrong are named with the place', () => {
    const wrong = (word: string) => (word === '@web' ? 'web[1-3],web[9-4]' : undefined);
    expect(() => new NodeSet('a,@web', { lookUp: wrong })).toThrow(
      'the set "web[1-3],web[9-4]" of the group @web is wrong at character 14: the range 9-4 runs backwards',
    );
  });
});

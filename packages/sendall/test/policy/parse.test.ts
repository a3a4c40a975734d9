import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { parsePolicy, PolicyError } from '../../dist/policy/parse.js';

const parse = (text: string) => parsePolicy(Buffer.from(text), 'policy.yaml');
/** The problems of a text, as "line: what". */
function problemsOf(text: string | Uint8Array): string[] {
  try {
    parsePolicy(Buffer.from(text as string), 'policy.yaml');
    return [];
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    return error.problems.map(({ line, what }) => `${line}: ${what}`);
  }
}
/** A policy of one rule: its lines begin at line 3. */
const rule = (...lines: string[]) =>
  ['version: 1', 'rules:', ...lines.map((line, i) => (i ? `    ${line}` : `  - ${line}`))].join('\n');
const run = (...lines: string[]) =>
  rule('id: a', 'who: [alice]', 'verbs: [exec]', 'program: /usr/bin/id', 'run-as: app', ...lines);

/** A rule about files. */
const put = (...lines: string[]) =>
  rule('id: a', 'who: [alice]', 'verbs: [put]', "paths: ['/srv/app/**']", 'run-as: app', ...lines);

const example = `version: 1
rules:
  - id: restart-web
    who: [role:deploy, alice]
    verbs: [exec]
    program: /usr/bin/systemctl       # absolute, never a bare name or a pattern
    args: [{one-of: [restart, status]}, {like: 'web-*'}]     # by position
    rest: none
    run-as: app
    env: [LANG, 'APP_*']
    cwd: [/, /srv/app]
    limits: {timeout: 2m, output: 1MiB, memory: 512MiB, cpu: 60s, files: 256, runs: 4}
`;

test('every key of a rule is read', () => {
  const { rules, rev, sha256 } = parse(example);
  expect(rev).toBe(1);
  expect(sha256).toMatch(/^[\da-f]{64}$/);
  expect(rules).toEqual([
    {
      id: 'restart-web',
      line: 3,
      principals: new Set(['alice']),
      roles: new Set(['deploy']),
      verbs: new Set(['exec']),
      program: '/usr/bin/systemctl',
      args: [
        { kind: 'one-of', words: new Set(['restart', 'status']) },
        { kind: 'like', pattern: 'web-*', start: 'web-' },
      ],
      rest: undefined,
      paths: [],
      runAs: 'app',
      env: [
        { name: 'LANG', open: false },
        { name: 'APP_', open: true },
      ],
      cwd: ['/', '/srv/app'],
      stdin: false,
      pty: false,
      limits: { timeoutMs: 120_000, output: 1048576, memory: 536870912, cpuMs: 60_000, files: 256, runs: 4 },
      trustsProgram: false,
    },
  ]);
  const [other] = parse(
    run('args: [{number: 1..9}, {path: "/var/log/app/**"}, -n, ""]', 'rest: {each: {like: "?"}, max: 8}', 'stdin: yes'),
  ).rules;
  expect(other).toMatchObject({
    args: [
      { kind: 'number', from: 1, to: 9 },
      { kind: 'path', parts: ['var', 'log', 'app'], deep: true },
      { kind: 'literal', word: '-n' },
      { kind: 'literal', word: '' },
    ],
    rest: { each: { kind: 'like', pattern: '?', start: '' }, max: 8 },
    stdin: true,
  });
});

test('a rule about files has their patterns and a size', () => {
  const [first] = parse(put('limits: {size: 2MiB, runs: 1}').replace("**'", "**', /srv/x, '/srv/*/c'")).rules;
  expect(first).toMatchObject({
    verbs: new Set(['put']),
    program: undefined,
    paths: [
      { kind: 'path', parts: ['srv', 'app'], deep: true },
      { kind: 'path', parts: ['srv', 'x'], deep: false },
      { kind: 'path', parts: ['srv', '*', 'c'], deep: false },
    ],
    runAs: 'app',
    limits: { size: 2 * 1024 * 1024, runs: 1 },
  });
});

test('words stay text: no, 1.0 and ~ are not values of other types', () => {
  expect(parse(run('args: [no, 1.0, ~, 0x10, 2026-01-01, null]')).rules[0]!.args).toEqual(
    ['no', '1.0', '~', '0x10', '2026-01-01', 'null'].map((word) => ({ kind: 'literal', word })),
  );
});

test('a word of the policy is its bytes in UTF-8', () => {
  expect(parse(run('args: [ä]')).rules[0]!.args).toEqual([{ kind: 'literal', word: '\xc3\xa4' }]);
});

test.each<readonly [string, string | Uint8Array, string]>([
  ['an empty file', '', '1: it is empty'],
  ['no version', 'rules: []', '1: it has no version'],
  ['another version', 'version: 2', '1: version is the text "2"'],
  ['an unknown key', 'version: 1\nrule: []', '2: a policy has no key "rule"'],
  ['an unknown key of a rule', run('user: app'), '8: a rule has no key "user"'],
  ['a key twice', run('stdin: no', 'stdin: yes'), '9: a rule has the key "stdin" twice'],
  ['an id twice', `${run()}\n  - ${run().split('- ')[1]!}`, '8: the id "a" stands in line 3 already'],
  ['the id owner', rule('id: owner', 'who: [a]', 'verbs: [list]'), '3: the id "owner"'],
  ['an alias', run('args: [&x b, c]').replace(', c', ', *x'), '8: an anchor'],
  ['an unknown alias', run('args: [*x]'), '8: '],
  ['a merge key', run('<<: {stdin: yes}'), '8: a rule has no key "<<"'],
  ['a tag', run('stdin: !!bool yes'), '8: a tag'],
  ['a tag on a key', run('!!str stdin: yes'), '8: a tag'],
  ['a tab', run('\tstdin: yes'), '8: a tab'],
  ['a tab in a comment', `${run()}\n#\tx`, '8: a tab'],
  ['a turning character', run('args: ["\u202Ex"]'), '8: the character U+202E'],
  ['a space that is none', run('args: [a\u00A0b]'), '8: the character U+00A0'],
  ['a wide space', run('args: ["a\u3000"]'), '8: the character U+3000'],
  ['a letter without a shape', run('args: [a\u3164]'), '8: the character U+3164'],
  ['a variation of a letter', run('args: [a\uFE0F]'), '8: the character U+FE0F'],
  ['a zero byte in a program', run().replace('/usr/bin/id', '"/usr/bin/id\\0"'), '6: program holds a zero byte'],
  ['a zero byte in a folder', run('cwd: ["/srv\\0"]'), '8: cwd holds a zero byte'],
  ['a zero byte', run('args: ["\\0"]'), '8: argument 1 holds a zero byte'],
  ['bytes that are not UTF-8', Buffer.from('version: 1\n# \xff', 'latin1'), '1: it is not UTF-8'],
  ['two documents', 'version: 1\n---\nversion: 1', 'a second document'],
  ['no YAML', 'version: [', 'it is not YAML'],
  ['a word for a list', rule('id: a', 'who: alice', 'verbs: [list]'), '4: who is the text "alice", not a list'],
  ['an owner', rule('id: a', 'who: [role:owner]', 'verbs: [list]'), '4: who: owners may do everything'],
  ['nothing in who', rule('id: a', 'who: []', 'verbs: [list]'), '4: who has no entry'],
  ['a verb that is none', rule('id: a', 'who: [a]', 'verbs: [run]'), '5: "run" is no verb'],
  ['a missing verb', rule('id: a', 'who: [a]'), '3: a rule has no verbs'],
  ['a bare program', run().replace('/usr/bin/id', 'id'), '6: program "id" does not begin with /'],
  ['a program pattern', run().replace('/id', '/*'), '6: program "/usr/bin/*" has * or ?'],
  ['a program with ..', run().replace('/id', '/../id'), '6: program "/usr/bin/../id" holds'],
  ['a program with //', run().replace('/id', '//id'), '6: program "/usr/bin//id" holds'],
  ['exec without a program', rule('id: a', 'who: [a]', 'verbs: [exec]', 'run-as: app'), '5: a rule with exec needs'],
  ['sh with a program', run().replace('[exec]', '[exec, sh]'), '5: a rule with a program has no sh'],
  ['sh with args', rule('id: a', 'who: [a]', 'verbs: [sh]', 'run-as: b', 'args: [x]'), '7: a rule without a program'],
  ['no run-as', run().replace('    run-as: app', ''), '3: a rule that starts commands needs run-as'],
  ['two accounts', run().replace('app', '[a, b]'), '7: run-as is a list'],
  ['an account by number', run().replace('app', '"0"'), '7: run-as "0"'],
  ['root', run().replace('app', 'root'), '7: run-as root needs "trusts-program: yes"'],
  [
    'a program for list',
    rule('id: a', 'who: [a]', 'verbs: [list]', 'program: /bin/a'),
    '6: a rule with list starts no',
  ],
  ['like without a star', run('args: [{like: a}]'), '8: like "a" has no * and no ?'],
  ['like with a class', run("args: [{like: '[ab]*'}]"), '8: like "[ab]*": it knows * and ? only'],
  ['like with **', run("args: [{like: 'a**'}]"), '8: like "a**": ** can only'],
  ['too many stars', run(`args: [{like: '${'a*'.repeat(9)}'}]`), '8: like has more than 8 stars'],
  ['two patterns', run('args: [{like: a*, number: 1..2}]'), '8: argument 1 has one of'],
  ['an unknown pattern', run('args: [{regex: a}]'), '8: argument 1 has no key "regex"'],
  ['an empty one-of', run('args: [{one-of: []}]'), '8: one-of has no word'],
  ['a range the wrong way', run('args: [{number: 9..1}]'), '8: number "9..1"'],
  ['a number for a range', run('args: [{number: 9}]'), '8: number "9"'],
  ['a relative path', run('args: [{path: var/log}]'), '8: path "var/log" does not begin with /'],
  ['a path with ..', run('args: [{path: /var/../etc/**}]'), '8: path "/var/../etc" holds'],
  ['** in the middle', run("args: [{path: '/a/**/b'}]"), '8: path "**": ** can only'],
  ['rest without max', run('rest: {each: a}'), '8: rest is none, or has each and max'],
  ['env LD_PRELOAD', run('env: [LD_PRELOAD]'), '8: env: LD_PRELOAD is never allowed'],
  ['env PATH', run('env: [PATH]'), '8: env: PATH is never allowed'],
  ['env GIT_*', run("env: ['GIT_*']"), '8: env: GIT_* is never allowed'],
  ['every variable', run("env: ['*']"), '8: env: "*" is not NAME'],
  ['a variable with a value', run('env: [A=b]'), '8: env: "A=b" is not NAME'],
  ['a relative cwd', run('cwd: [srv]'), '8: cwd "srv" does not begin with /'],
  ['true for yes', run('stdin: true'), '8: stdin is the text "true": write yes or no'],
  ['an unknown limit', run('limits: {cores: 2}'), '8: limits has no key "cores"'],
  ['a time without a unit', run('limits: {timeout: 5}'), '8: timeout "5" is not a time'],
  ['a size that is none', run('limits: {memory: much}'), '8: memory "much" is not a size'],
  ['no runs', run('limits: {runs: 0}'), '8: runs "0" is not a number'],
  ['trust with like', run("args: [{like: 'a*'}]", 'trusts-program: yes'), '8: args are words or one-of'],
  ['trust with rest', run('rest: {each: a, max: 1}', 'trusts-program: yes'), '8: rest is none'],
  ['trust with any value', run('env: [LANG]', 'trusts-program: yes'), '8: each variable has its value'],
  ['trust with stdin', run('stdin: yes', 'trusts-program: yes'), '8: stdin is no'],
  ['trust with a terminal', run('pty: yes', 'trusts-program: yes'), '8: a terminal has no place'],
  ['put without paths', put().replace(/ *paths.*\n/, ''), '3: a rule with put needs paths: [/srv/app/**]'],
  ['put without an account', put().replace('    run-as: app', ''), '3: a rule with put needs run-as'],
  [
    'put as root',
    put().replace('app\n', 'root\n').replace(/app$/, 'root'),
    '7: files are moved as root for owners only',
  ],
  ['put with exec', put().replace('[put]', '[put, exec]'), '5: a rule with put starts no command'],
  ['put with a program', put('program: /bin/cat'), '8: a rule with put has no program'],
  ['put with stdin', put('stdin: no'), '8: a rule with put has no stdin'],
  ['put with variables', put('env: [LANG]'), '8: a rule with put has no env'],
  ['put with trust', put('trusts-program: yes'), '8: a rule with put has no trusts-program'],
  ['put with output', put('limits: {output: 1KiB}'), '8: the limits of put have size'],
  ['put with a relative path', put().replace('/srv', 'srv'), '6: path "srv/app" does not begin with /'],
  ['put with a class', put().replace('app/**', '[a]'), '6: paths "[a]": it knows * and ? only'],
  ['no path', put().replace("['/srv/app/**']", '[]'), '6: a rule with put needs paths'],
  ['a command with paths', run('paths: [/srv/x]'), '8: paths is for put and get'],
  ['a command with a size', run('limits: {size: 1KiB}'), '8: size is for put and get'],
  ['forward', rule('id: a', 'who: [a]', 'verbs: [forward]'), '5: connections are forwarded for owners'],
])('%s is an error with its line', (_, text, problem) => {
  expect(problemsOf(text)[0]).toContain(problem);
});

test('all mistakes are named, one for each rule', () => {
  const text =
    'version: 1\nrules:\n  - {id: a}\n  - {id: b, who: [x], verbs: [list]}\n  - {id: c, who: [x], verbs: [run]}';
  expect(problemsOf(text).map((problem) => problem.split(':')[0])).toEqual(['3', '5']);
});

test.each<readonly [string, string]>([
  ['nested lists', `version: ${'['.repeat(20_000)}`],
  ['nested lists in lines', `version:\n${'- '.repeat(20_000)}`],
  ['nested maps', `version: ${'{a: '.repeat(20_000)}`],
  ['aliases of aliases', `a: &a [x,x]\n${Array.from({ length: 30 }, (_, i) => `b${i}: &b${i} [*a, *a]`).join('\n')}`],
  ['many keys', 'a:\n'.repeat(20_000)],
  ['too large a file', `version: 1 #${'x'.repeat(1024 * 1024)}`],
  ['questions', '? '.repeat(20_000)],
])('a bomb of %s is an error', (_, text) => {
  expect(problemsOf(text)).not.toEqual([]);
});

test('any text is a policy or an error with a line', () => {
  const piece = fc.oneof(
    fc.constantFrom('version: 1\n', 'rules:\n', '  - id: a\n', '    who: [a]\n', '    verbs: [exec]\n', '    args: '),
    fc.constantFrom('[', ']', '{', '}', ': ', '- ', '\n', '    ', '*a', '&a ', '!!map ', '| ', '"', "'", '#', '---\n'),
    fc.string({ unit: 'binary', maxLength: 10 }),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
      for (const problem of problemsOf(pieces.join(''))) expect(problem).toMatch(/^\d+: ./);
    }),
    { numRuns: 1000 },
  );
});

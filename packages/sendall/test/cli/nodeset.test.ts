import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { nodeset } from '../fleet/cluster-shell.js';
import { User } from './support.js';

let user: User;
beforeAll(() => {
  user = new User();
  const tags: Record<string, string> = { web01: 'web', web02: 'web', web03: 'web', db1: 'db' };
  for (const [name, role] of Object.entries(tags)) {
    const added = ['hosts', 'add', name, `tls://${name}.example:7433`, '--pin', `SHA256:${'A'.repeat(43)}`];
    expect(user.call([...added, '--tag', `role=${role}`]).code).toBe(0);
  }
});
afterAll(() => user[Symbol.dispose]());

const call = (words: readonly string[], input = '') => user.call(['hosts', 'nodeset', ...words], { input });

describe('hosts nodeset', () => {
  test.each<[words: string[], input?: string]>([
    [['-c', 'node[0-7,32-159]', 'node[160-163]']],
    [['-f', 'node[0-7,32-159]', 'node[160-163]']],
    [['-f', 'dc1n2', 'dc2n2', 'dc1n1', 'dc2n1']],
    [['-e', '-S', ' ', 'node[160-163]']],
    [['-e', '-S', '\\n', 'node[08-11]']],
    [['-e', '-S,', 'dc[1-2]n[2-6/2]']],
    [['-f', 'node[0-10]^node[5-13]!node[ 11 - 12 ]']],
    [['--split=3', '-e', 'node[1-10]']],
    [['--split=4', '-f', 'node[1-10]']],
    [['--contiguous', '-f', 'node2', 'node3', 'node4', 'node8', 'node9']],
    [['--contiguous', '-e', 'dc[1,3]n[1-2,4-5]']],
    [['-f', '-I', '1-9/2,16', 'node[1-40]']],
    [['-c', '-I0', 'node[5-9]']],
    [['-c', 'a!a']],
    [['-f', 'a!a']],
    [['-f', '-'], 'node3 node6 node1\nnode2 # the second\r\n\n#node4\nnode7 node5,node[9-10]!node9\n'],
    [['-f', 'x1', '-'], 'x3 x[1-5]&x2\n'],
  ])('does as nodeset does: %j', (words, input) => {
    expect(call(words, input)).toEqual({ code: 0, stdout: nodeset(words, input), stderr: '' });
  });

  test('folds, and writes one name a line', () => {
    expect(call(['web[1-3]']).stdout).toBe('web[1-3]\n');
    expect(call(['web[1-3]', '--expand']).stdout).toBe('web1\nweb2\nweb3\n');
    expect(call(['a!a', '--expand']).stdout).toBe('');
    expect(call(['-e', '-S', '\\t', 'a,b']).stdout).toBe('a\tb\n');
  });

  test('takes names from stdin as one word of the expression', () => {
    expect(call(['-', '!web2'], 'web1\nweb[2-3]\n').stdout).toBe('web[1,3]\n');
    expect(call(['all&-'], 'web02 web09').stdout).toBe('web02\n');
  });

  test('lists groups, with their hosts and numbers', () => {
    expect(call(['-l']).stdout).toBe('@db\n@role\n@web\n');
    expect(call(['-lll']).stdout).toBe('@db db1 1\n@role db1,web[01-03] 4\n@web web[01-03] 3\n');
    expect(call(['-ll', 'web[02-09]']).stdout).toBe('@role web[02-03]\n@web web[02-03]\n');
    expect(call(['-lll', 'web[02-09]']).stdout).toBe('@role web[02-03] 2/4\n@web web[02-03] 2/3\n');
    const [group] = user.events(['hosts', 'nodeset', '-l', '--json', 'db1']);
    expect(group).toEqual({ group: '@db', nodeset: 'db1', size: 1, of: 1, hosts: ['db1'] });
  });

  test.each([
    ['@*', 'db1,web[01-03]'],
    ['@role!@web', 'db1'],
    ['@[web,db]', undefined],
    ['web*', 'web[01-03]'],
    ['*[2-3]!*3', 'web02'],
    ['?b1,w*?1', 'db1,web01'],
    ['nothing*', ''],
  ])('%s stands for %s', (text, folded) => {
    const { code, stdout } = call([text]);
    expect([code, stdout]).toEqual(folded === undefined ? [200, ''] : [0, `${folded}\n`]);
  });

  test('prints parts as JSON, one a line', () => {
    expect(user.events(['hosts', 'nodeset', '--json', '--split', '2', 'a[1-3]'])).toEqual([
      { nodeset: 'a[1-2]', size: 2, hosts: ['a1', 'a2'] },
      { nodeset: 'a3', size: 1, hosts: ['a3'] },
    ]);
  });

  test('has a limit of names that an option raises', () => {
    expect(call(['-c', 'n[1-5000]r[1-200]', '--max-size', '1000000']).stdout).toBe('1000000\n');
    expect(call(['n[1-11]', '--max-size', '10']).stderr).toContain('10 names at most');
    expect(call(['-', '--max-size', '10'], 'a\nn[1-9]\nb').stderr).toContain(
      'line 3 of stdin: a set of hosts may hold 10',
    );
  });

  test.each<[words: string[], message: string, input?: string]>([
    [[], 'hosts nodeset needs an expression'],
    [
      ['-', 'x'],
      'line 2 of stdin: the set "b,web[3-1]" is wrong at character 7: the range 3-1 runs backwards',
      'a\nb,web[3-1]\n',
    ],
    [['-c', '--fold', 'a'], '--fold and --count contradict each other: leave one out'],
    [['--split', '2', '--contiguous', 'a'], '--split and --contiguous contradict each other'],
    [['-S', ',', 'a'], '--separator needs --expand: add -e'],
    [['--split', '0', 'a'], '--split: "0" is not a number of 1 or more'],
    [['-I', '3-1', 'a'], 'the places "3-1" are wrong at character 1'],
    [['@nothing'], 'there is no group "nothing", and no host has a tag of this name'],
  ])('refuses %j: %s', (words, message, input) => {
    const { code, stdout, stderr } = call(words, input);
    expect([code, stdout]).toEqual([200, '']);
    expect(stderr).toContain(message);
  });

  test('is completed with groups after "@"', () => {
    const complete = (...words: string[]) =>
      user
        .call(['complete', '--', ...words])
        .stdout.split('\n')
        .filter(Boolean);
    expect(complete('run', 'db1,@')).toEqual(['db1,@db', 'db1,@role', 'db1,@web']);
    expect(complete('run', 'all^w')).toEqual(['all^web01', 'all^web02', 'all^web03']);
    expect(complete('hosts', 'nodeset', '--s')).toEqual(expect.arrayContaining(['--separator', '--slice', '--split']));
  });
});

import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { Callers } from '../../dist/agent/callers/callers.js';
import { newHome, newIdentity } from './support.js';

describe('callers', () => {
  test('are found by key, and without a file there are none', async () => {
    const home = newHome();
    const callers = new Callers(home);
    const [one, two] = await Promise.all([newIdentity(), newIdentity()]);
    expect(callers.find(one.spki)).toBeUndefined();
    await callers.add({ fingerprint: one.fingerprint, name: 'ann@laptop' });
    expect(callers.find(one.spki)).toMatchObject({
      fingerprint: one.fingerprint,
      name: 'ann@laptop',
      principal: 'owner',
      roles: ['owner'],
      pairedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
    });
    expect(callers.find(two.spki)).toBeUndefined();
    expect(statSync(home.callersFile).mode & 0o777).toBe(0o600);
    await callers.remove(one.fingerprint);
    expect(callers.find(one.spki)).toBeUndefined();
    await expect(callers.remove(one.fingerprint)).rejects.toThrow(/no caller has the key SHA256:/);
  });

  test('that pair again become who the new code says', async () => {
    const callers = new Callers(newHome());
    const { fingerprint, spki } = await newIdentity();
    await callers.add({ fingerprint, name: 'robot', principal: 'ci', roles: ['deploy'] });
    expect(callers.find(spki)).toMatchObject({ name: 'robot', principal: 'ci', roles: ['deploy'] });
    await callers.add({ fingerprint, name: 'robot 2', principal: 'cd', roles: [] });
    expect(callers.find(spki)).toMatchObject({ name: 'robot 2', principal: 'cd', roles: [] });
    await callers.add({ fingerprint, name: 'robot 3' });
    expect(callers.find(spki)).toMatchObject({ name: 'robot 3', principal: 'owner', roles: ['owner'] });
    expect(callers.list()).toHaveLength(1);
  });

  test('of one principal have the same roles, which are those of its last code that named some', async () => {
    const home = newHome();
    const callers = new Callers(home);
    const [one, two, other] = await Promise.all([newIdentity(), newIdentity(), newIdentity()]);
    await callers.add({ fingerprint: other.fingerprint, name: 'other', principal: 'bob', roles: ['deploy'] });
    await callers.add({ fingerprint: one.fingerprint, name: 'one', principal: 'alice', roles: ['deploy', 'audit'] });
    await callers.add({ fingerprint: two.fingerprint, name: 'two', principal: 'alice' });
    expect(callers.find(two.spki)?.roles).toEqual(['deploy', 'audit']);
    await callers.add({ fingerprint: two.fingerprint, name: 'two', principal: 'alice', roles: ['audit'] });
    expect(callers.find(one.spki)?.roles).toEqual(['audit']);
    expect([callers.rolesOf('alice'), callers.rolesOf('bob'), callers.rolesOf('eve')]).toEqual([
      ['audit'],
      ['deploy'],
      undefined,
    ]);
    const text = readFileSync(home.callersFile, 'utf8');
    writeFileSync(home.callersFile, text.replace('"audit"', '"deploy"'));
    expect(() => callers.find(one.spki)).toThrow(/the keys of alice have different roles/);
    expect(() => callers.rolesOf('bob')).toThrow(/roles belong to the principal/);
  });

  test.each([
    [{ principal: 'owner', roles: ['deploy'] }, /"owner" is this machine's own user/],
    [{ roles: ['deploy'] }, /"owner" is this machine's own user/],
    [{ principal: 'owner', roles: ['owner', 'deploy'] }, /"owner" is this machine's own user/],
    [{ principal: 'owner', roles: [] }, /"owner" is this machine's own user/],
    [{ principal: 'role:deploy' }, /"role:deploy" is not a principal/],
    [{ principal: '' }, /"" is not a principal/],
    [{ principal: ['owner'] as unknown as string }, /"object" is not a principal/],
    [{ principal: 'alice', roles: 'owner' as unknown as string[] }, /roles are a list of words/],
    [{ principal: 'alice', roles: [['owner']] as unknown as string[] }, /"object" is not a role/],
    [{ principal: 'alice', roles: ['a b'] }, /"a b" is not a role/],
    [{ principal: 'alice', roles: ['-x'] }, /"-x" is not a role/],
    [{ principal: 'alice', roles: Array.from({ length: 17 }, (_, i) => `r${i}`) }, /17 roles/],
  ])('are not let in as %j', async (rights, message) => {
    const callers = new Callers(newHome());
    const { fingerprint } = await newIdentity();
    await expect(callers.add({ fingerprint, name: 'x', ...rights })).rejects.toThrow(message);
    expect(callers.list()).toEqual([]);
  });

  test('changed by another process are seen at the next look', async () => {
    const home = newHome();
    const { fingerprint, spki } = await newIdentity();
    const ours = new Callers(home);
    const theirs = new Callers(home);
    for (let i = 0; i < 20; i++) {
      await theirs.add({ fingerprint, name: 'x' });
      expect(ours.find(spki)?.name).toBe('x');
      await theirs.remove(fingerprint);
      expect(ours.find(spki)).toBeUndefined();
    }
  });

  test('do not exist while their file is wrong, again and again', async () => {
    const home = newHome();
    const { fingerprint, spki } = await newIdentity();
    const callers = new Callers(home);
    await callers.add({ fingerprint, name: 'ann' });
    expect(callers.find(spki)?.name).toBe('ann');
    const good = readFileSync(home.callersFile, 'utf8');
    const entry = { name: 'ann', principal: 'owner', roles: ['owner'] };
    for (const [text, message] of [
      ['{', /callers\.json is not JSON/],
      ['[]', /does not hold records by name/],
      [JSON.stringify({ x: entry }), /"x" is not a fingerprint/],
      [JSON.stringify({ [fingerprint]: { ...entry, name: 1 } }), /it has no name/],
      [JSON.stringify({ [fingerprint]: { ...entry, principal: undefined } }), /it has no principal/],
      [JSON.stringify({ [fingerprint]: { ...entry, roles: 'owner' } }), /its roles are not a list of words/],
      [JSON.stringify({ [fingerprint]: { ...entry, roles: [null] } }), /its roles are not a list of words/],
      [JSON.stringify({ [fingerprint]: { ...entry, roles: ['deploy'] } }), /"owner" is this machine's own user/],
      [JSON.stringify({ [fingerprint]: { ...entry, principal: 'a,b' } }), /"a,b" is not a principal/],
    ] as const) {
      writeFileSync(home.callersFile, text);
      expect(() => callers.find(spki)).toThrow(message);
      expect(() => callers.find(spki)).toThrow(message);
      await expect(callers.add({ fingerprint, name: 'x' })).rejects.toThrow(message);
      expect(readFileSync(home.callersFile, 'utf8')).toBe(text);
    }
    writeFileSync(home.callersFile, good);
    chmodSync(home.callersFile, 0o620);
    expect(() => callers.find(spki)).toThrow(/open to other users/);
    chmodSync(home.callersFile, 0o600);
    expect(callers.find(spki)?.name).toBe('ann');
  });
});

import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { Callers } from '../../dist/agent/callers.js';
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

  test('that pair again keep their permissions', async () => {
    const home = newHome();
    const { fingerprint, spki } = await newIdentity();
    const robot = { name: 'robot', principal: 'ci', roles: ['deploy'], pairedAt: '' };
    writeFileSync(home.callersFile, JSON.stringify({ [fingerprint]: robot }), { mode: 0o600 });
    const callers = new Callers(home);
    await callers.add({ fingerprint, name: 'robot 2' });
    expect(callers.find(spki)).toMatchObject({ name: 'robot 2', principal: 'ci', roles: ['deploy'] });
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

/** Secrets in the API: what prints them, which are refused, and how a command gets them. */
import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { newRunId, secret, testHosts, UsageError, type Host, type RunOptions } from 'sendall';
import { ownAgent, type OwnAgent } from './own-agent.js';

let own: OwnAgent;
let host: Host;
beforeAll(async () => {
  own = await ownAgent();
  host = own.host;
});
afterAll(() => own[Symbol.asyncDispose]());

const READ = ['sh', '-c', 'cat <&$DB_FD'];
const DB = secret('hunter2');

describe('a secret', () => {
  test('is "[secret]" in every text: printed, inspected, joined, as JSON, in errors and copies', () => {
    const texts = [
      String(DB),
      `${DB}`,
      ['a', DB].join(''),
      JSON.stringify({ DB }),
      inspect(DB),
      inspect({ DB, list: [DB], map: new Map([['DB', DB]]) }, { depth: 9, showHidden: true }),
      inspect(DB, { customInspect: false, showHidden: true }),
      JSON.stringify(Object.entries(DB)),
      JSON.stringify(structuredClone(DB)),
      JSON.stringify({ ...DB }),
      new Error(`wrong: ${DB}`).stack!,
    ];
    for (const text of texts) {
      expect(text).not.toMatch(/hunter|104|68756e/);
    }
    expect(texts[0]).toBe('[secret]');
    expect(texts[3]).toBe('{"DB":"[secret]"}');
    expect(inspect(DB)).toBe('[secret]');
  });

  test('keeps a copy of bytes', async () => {
    const bytes = Buffer.from('hunter2');
    const copied = secret(bytes);
    bytes.fill(0);
    expect(await host.run(READ, { secrets: { DB: copied } }).text()).toBe('hunter2');
  });

  test('is made of text or bytes; the error does not show anything else', () => {
    for (const wrong of [5, null, undefined, { key: 'hunter2' }, ['hunter2'], 123_456])
      expect(() => secret(wrong as unknown as string)).toThrow(/^secret\(\) takes text or bytes \(a Uint8Array\)$/);
  });
});

describe('a command gets it', () => {
  test('in a descriptor, or in a variable', async () => {
    expect(await host.run(READ, { secrets: { DB } }).text()).toBe('hunter2');
    expect(await host.sh('echo $DB', { secrets: { DB }, secretAs: 'env' }).text()).toBe('hunter2');
  });

  test('beside stdin, in a template and in a tag with options', async () => {
    expect(await host.run(['sh', '-c', 'cat; cat <&$DB_FD'], { secrets: { DB }, stdin: 'in ' }).text()).toBe('in hunter2');
    const tag = host.$({ secrets: { DB } });
    expect(await tag`sh -c ${'cat <&$DB_FD'}`.text()).toBe('hunter2');
  });

  test('on every try', async () => {
    const script = 'cat <&$DB_FD; test -e tried || { : > tried; exit 1; }; rm tried';
    const options: RunOptions = { cwd: own.home.state, secrets: { DB }, idempotent: true, retry: 1 };
    expect(await host.sh(script, options).text()).toBe('hunter2');
  });

  test('on every host of a fleet', async () => {
    await using hosts = await testHosts(3);
    const run = hosts.fleet.run(READ, { secrets: { DB, UNUSED: undefined } });
    expect((await run).results.map(({ stdout }) => stdout)).toEqual(['hunter2', 'hunter2', 'hunter2']);
  });
});

test('the same run id with other names is a conflict; other values attach to the run as it is', async () => {
  const runId = newRunId();
  const options = { runId, reject: false };
  expect((await host.run(READ, { ...options, secrets: { DB } })).stdout).toBe('hunter2');
  expect((await host.run(READ, { ...options, secrets: { DB: secret('other') } })).stdout).toBe('hunter2');
  expect((await host.run(READ, { ...options, secrets: { DB, B: DB } })).outcome).toBe('conflict');
  expect((await host.run(READ, { ...options, secrets: { DB }, secretAs: 'env' })).outcome).toBe('conflict');
});

describe('refused before anything starts, and never shown:', () => {
  const long = secret('hunter2'.repeat(200_000));
  test.each<[string, object, RegExp]>([
    ['plain text', { secrets: { DB: 'hunter2' } }, /^secrets: what was given is not an object of secrets by name: \{ DB:/],
    ['a number', { secrets: { PIN: 1042 } }, /^secrets: what was given is not an object of secrets/],
    ['no object', { secrets: 'hunter2' }, /^secrets: what was given is not/],
    ['a variable', { env: { DB } }, /^env: \{ DB \} is not/],
    ['a NUL byte in a variable', { secrets: { DB: secret('hunter2\0') }, secretAs: 'env' }, /^secrets: DB holds a NUL byte/],
    ['a wrong name', { secrets: { 'hunter2!': DB } }, /^secrets: the name of secret 1 is not allowed/],
    ['a reserved name', { secrets: { LD_PRELOAD: DB } }, /^secrets: LD_PRELOAD cannot be the name of a secret/],
    ['a variable of the same name', { secrets: { DB }, secretAs: 'env', env: { DB: 'x' } }, /both set the variable DB$/],
    ['a third way', { secrets: { DB }, secretAs: 'file' }, /^secretAs: "file" is not one of fd, env$/],
    ['more than a frame holds', { secrets: { DB: long } }, /^secrets: with the command they are 14\d{5} bytes/],
  ])('%s', (_what, options, message) => {
    const start = (): unknown => host.run(['true'], options);
    expect(start).toThrow(UsageError);
    expect(start).toThrow(message);
    expect(start).not.toThrow(/hunter|1042/);
  });

  test('as a word of the command', () => {
    const wrong = /^a secret cannot be a word or a variable, which others can see: give it in the option secrets$/;
    expect(() => host.run(['echo', DB as unknown as string])).toThrow(wrong);
    expect(() => host.$`echo ${DB as unknown as string}`).toThrow(wrong);
    expect(() => host.$`echo ${['a', DB as unknown as string]}`).toThrow(wrong);
  });

  test('by the host: a value above its limit', async () => {
    const result = await host.run(READ, { secrets: { DB: secret('hunter2'.repeat(10_000)) }, reject: false });
    expect(result).toMatchObject({ outcome: 'refused', refusal: 'limits', reason: expect.stringMatching(/70000 bytes.*secretMax/) });
  });
});

import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../../../../test/support/waits.js';
import { Machine, User } from '../cli/support.js';
import { natsServer, type NatsServer } from '../dist/nats-server.js';

const PASSWORDS =
  'authorization { users: [{ user: "host", password: "h-secret" }, { user: "me", password: "m-secret" }] }';

let server: NatsServer;
beforeAll(async () => void (server = await natsServer({ config: PASSWORDS })));
afterAll(async () => await server[Symbol.asyncDispose]());

const folder = mkdtempSync(join(tmpdir(), 'sendall-creds-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A file of credentials. */
function credsFile(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, `${content}\n`, { mode: 0o600 });
  return path;
}

describe('the command line and a broker', () => {
  it('pairs, runs, discovers and forgets', async () => {
    await using far = new Machine();
    await far.startAgent('--name', 'web1', '--listen', server.url, '--creds', credsFile('host', 'host:h-secret'));
    using near = new User();
    const creds = credsFile('me', 'me:m-secret');

    expect(near.call(['engine']).stdout).toContain('no broker is set up');
    // A busy host may answer too late to be seen the first time.
    const set = await until(() => {
      const { stdout, stderr } = near.call(['engine', server.url, '--creds', creds]);
      expect(stderr).toBe('');
      return stdout.includes('1 host seen') && stdout;
    }, 'the host to be seen');
    expect(set).toMatch(
      /^engine nats:\/\/127.*nats-server 2\.[\d.]+\nyour id [a-z2-7]{26}\nround trip [\d.]+ ms, 1 host seen\n$/,
    );

    const made = far.user.call(['pair', '--new']);
    const command = /sendall (pair nats:\S+ --code \S+ --name web1)/.exec(made.stdout)?.[1];
    expect(command, made.stdout).toBeDefined();
    const paired = near.call(command!.split(' '));
    expect(paired.stdout).toMatch(/^paired with web1 \(nats:[a-z2-7]{26}\)/);
    // The second one through the warm-links process.
    for (const words of [['--no-share'], [], ['--via', 'nats']]) {
      const ran = near.call(['run', ...words, 'web1', '--', 'echo', 'through the broker']);
      expect(ran).toEqual({ code: 0, stdout: 'through the broker\n', stderr: '' });
    }
    expect(near.call(['run', '--via', 'direct', 'web1', '--', 'true'])).toMatchObject({
      code: 200,
      stderr: expect.stringContaining('leave out --via direct'),
    });
    const both = near.events(['run', 'web1,local', '--json', '--', 'true']);
    expect(both).toContainEqual(expect.objectContaining({ event: 'result', host: 'web1', outcome: 'ok' }));

    near.call(['hosts', 'add', 'lost', `nats:${'a'.repeat(26)}`, '--pin', `SHA256:${'A'.repeat(42)}A`]);
    const found = await until(() => {
      const { stdout } = near.call(['hosts', 'discover', '--wait', '2s']);
      return /^web1 /m.test(stdout) && stdout;
    }, 'the answer of web1');
    expect(found).toMatch(
      /^NAME +CALLS ITSELF +ADDRESS +KEY +VERSION\nweb1 +web1 +nats:[a-z2-7]{26} +SHA256:\S+ +0\.1\.0\nsilent: lost\n$/,
    );
    const events = await until(() => {
      const told = near.events(['hosts', 'discover', '--wait', '1s', '--json']);
      return told.some(({ event }) => event === 'card') && told;
    }, 'the answer of web1');
    expect(events).toEqual([
      expect.objectContaining({ event: 'card', host: 'web1', says: 'web1' }),
      { event: 'silent', host: 'lost' },
    ]);
    expect(near.call(['run', 'lost', '--', 'true'])).toMatchObject({
      code: 201,
      stderr: expect.stringContaining('is not connected to the broker'),
    });
    expect(near.call(['engine', '--off']).stdout).toBe('the broker is forgotten\n');
    expect(near.call(['run', '--no-share', 'web1', '--', 'true'])).toMatchObject({
      code: 200,
      stderr: expect.stringContaining('no broker is set up here'),
    });
  });

  it('refuses passwords in addresses, files open to others, and wrong credentials', () => {
    using user = new User();
    const creds = credsFile('wrong', 'me:wrong');
    const inUrl = user.call(['engine', 'nats://me:m-secret@127.0.0.1:1']);
    expect(inUrl).toMatchObject({ code: 200, stderr: expect.stringContaining('holds no user and no password') });
    expect(inUrl.stderr).not.toContain('m-secret');
    expect(user.call(['agent', '--listen', 'nats://me:m-secret@127.0.0.1:1'])).toMatchObject({ code: 200 });
    const wrong = user.call(['engine', server.url, '--creds', creds]);
    expect(wrong).toMatchObject({ code: 202, stderr: expect.stringContaining('does not let us in') });
    expect(user.call(['agent', '--listen', server.url, '--creds', creds])).toMatchObject({
      code: 202,
      stderr: expect.stringContaining('does not let us in'),
    });
    chmodSync(creds, 0o644);
    expect(user.call(['engine', server.url, '--creds', creds])).toMatchObject({
      code: 200,
      stderr: expect.stringContaining('is open to other users'),
    });
    expect(user.call(['engine', server.url, '--creds', '/no/such/file'])).toMatchObject({ code: 200 });
    expect(user.call(['engine', 'nats://a b'])).toMatchObject({ code: 200 });
    expect(user.call(['engine', '--creds', creds]).stderr).toContain('belong to its address');
    expect(user.call(['engine']).stdout).toContain('no broker is set up');
  });

  it('restarts an agent with the same broker and credentials', async () => {
    await using far = new Machine();
    await far.startAgent('--listen', server.url, '--creds', credsFile('again', 'host:h-secret'));
    const again = far.user.call(['agent', 'restart', '--json']);
    expect(JSON.parse(again.stdout)).toMatchObject({ listening: [expect.stringMatching(/^unix:/), server.url] });
    expect(far.user.call(['agent', 'status']).stdout).not.toContain('not connected');
  });
});

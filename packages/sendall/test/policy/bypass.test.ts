/** A corpus of ways around a policy, and random words: decided alone, and by a real agent for a paired caller. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { connect, openAgent, pair, resolveHome, type Agent, type Home, type Host } from 'sendall';
import { admitRun } from '../../dist/agent/admission/admission.js';
import { prepareRun } from '../../dist/client/options/options.js';
import { decide, verbOf } from '../../dist/policy/match.js';
import type { PolicyFile } from '../../dist/policy/policy-file.js';
import type { Request } from '../../dist/policy/request.js';
import { parsePolicy } from '../../dist/policy/parse.js';
import { ThisMachine } from '../../dist/policy/this-machine.js';
import { rootDescribe } from '../../../../test/support/root.js';
import { removeHome } from '../remove-home.js';
import { aMachine } from './a-policy.js';
import { allowed, corpusPolicy, denied, type Attempt } from './bypass-corpus.js';

const policy = parsePolicy(Buffer.from(corpusPolicy), 'policy.yaml');
const machine = new ThisMachine(0);

function decided({ argv, options, shell }: Attempt) {
  const what = shell === undefined ? { verb: 'exec' as const, argv } : { verb: 'sh' as const, script: shell };
  const { spec } = prepareRun(what, options);
  return decide(policy, { principal: 'alice', roles: ['deploy'], verb: verbOf(spec), spec }, machine);
}

test.each(Object.entries(denied))('%s is denied', (_, attempt) => {
  expect(decided(attempt)).toHaveProperty('deny');
});

test.each(Object.entries(allowed))('%s is allowed', (_, attempt) => {
  expect(decided(attempt)).toHaveProperty('allow');
});

/** Words with what shells and programs make much of, and bytes of any kind. */
const piece = fc.oneof(
  fc.constantFrom(
    ...';|&$()`\n\t\r *?[]{}<>"\'\\~#!^%=,-/.'.split(''),
    'web-',
    '..',
    '//',
    '--',
    'status',
    'restart',
    '1',
  ),
  fc.uint8Array({ maxLength: 4 }).map((bytes) => Buffer.from(bytes.filter((byte) => byte !== 0)).toString('latin1')),
);
const word = fc.array(piece, { maxLength: 5 }).map((pieces) => Buffer.from(pieces.join(''), 'latin1'));
const argv = fc.tuple(
  fc.constantFrom('echo', '/usr/bin/echo', './echo', '/bin/echo', 'id'),
  fc.array(word, { maxLength: 4 }),
);

/** What the rules of the corpus allow, said a second time: by a regular expression over the bytes. */
const SAFE = '[A-Za-z0-9._@:+=,-]';
const LINES = [
  `(?:restart|status)\0web-${SAFE}*`,
  `show\0/var/log/app(?:/(?!\\.{1,2}(?:/|$))${SAFE}+)+`,
  `count\0(?:[1-9]|1\\d|20)\0--lines=${SAFE}*(?:\0(?!-)${SAFE}){0,2}`,
].map((line) => new RegExp(`^/?(?:usr/bin/)?echo\0${line}$`));

test('random words are allowed only if the rules say so byte by byte, and always by a rule', () => {
  fc.assert(
    fc.property(argv, ([program, words]) => {
      const decision = decided({ argv: [program, ...words] });
      const bytes = [program, ...words.map((each) => each.toString('latin1'))].join('\0');
      const isMeant = (program === 'echo' || program === '/usr/bin/echo') && LINES.some((line) => line.test(bytes));
      expect('allow' in decision).toBe(isMeant);
      if ('allow' in decision) expect(['service', 'log', 'option']).toContain(decision.grant.rule);
      else expect(decision.nearest.length).toBeGreaterThan(0);
    }),
    { numRuns: 3000 },
  );
});

test('a decision is an allow with a rule of the policy, or a denial that names no rule to the caller', () => {
  const principal = fc.constantFrom('alice', 'bob', 'owner', 'role:deploy', '');
  const roles = fc.subarray(['deploy', 'owner', 'role:deploy', '']);
  const verb = fc.constantFrom('exec', 'sh', 'pty', 'attach', 'observe', 'list', 'signal', 'forget', 'agent', 'put');
  fc.assert(
    fc.property(principal, roles, verb, argv, fc.boolean(), (name, has, asked, [program, words], bare) => {
      const { spec } = prepareRun({ verb: 'exec', argv: [program, ...words] });
      const request = { principal: name, roles: has, verb: asked as 'exec', spec: bare ? undefined : spec };
      const decision = decide(policy, request, aMachine);
      if (has.includes('owner')) expect(decision).toMatchObject({ allow: 'owner' });
      else if ('allow' in decision) {
        expect(has).toContain('deploy');
        expect(policy.rules.map(({ id }) => id)).toContain(decision.allow);
        expect(decision.grant.rule).toBe(decision.allow);
      } else for (const { id } of policy.rules) expect(decision.deny).not.toContain(`${id} (`);
    }),
  );
});

test('a spec with a field that is not known here, or twice, is refused', () => {
  const file = { decide: (request: Request) => decide(policy, request, machine) } as PolicyFile;
  const { rawSpec } = prepareRun({ verb: 'exec', argv: ['echo', 'status', 'web-1'] });
  const admitted = (raw: Uint8Array) => admitRun(file, { name: 'alice', roles: ['deploy'] }, raw);
  expect(admitted(rawSpec)).toMatchObject({ rule: 'service' });
  const unknown = Buffer.concat([rawSpec, Buffer.from([0xf8, 0x7f, 1])]);
  const twice = Buffer.concat([rawSpec, Buffer.from([0x0a, 4]), Buffer.from('exec')]);
  for (const raw of [unknown, twice]) expect(admitted(raw)).toMatchObject({ code: 'badspec' });
});

rootDescribe('a real agent', () => {
  let folder: string;
  let agent: Agent;
  let host: Host;
  const homeIn = (name: string): Home => resolveHome({ SENDALL_HOME: join(folder, name) });

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sendall-bypass-'));
    agent = await openAgent({ home: homeIn('host'), listen: ['tls://127.0.0.1:0'], keeperIdleExit: 200 });
    writeFileSync(homeIn('host').policyFile, corpusPolicy, { mode: 0o600 });
    const { code } = agent.issueCode({ principal: 'alice', roles: ['deploy'] });
    const home = homeIn('alice');
    await pair(
      home,
      agent.listening.find((url) => url.startsWith('tls:'))!,
      { code, name: 'host' },
    );
    host = await connect('host', { home });
  });
  afterAll(async () => {
    await host.close();
    const local = await connect('local', { home: homeIn('host') });
    await local.ask('stop', { runs: true });
    await local.close();
    await agent.stopped;
    for (const name of readdirSync(folder)) await removeHome(join(folder, name), 0);
    rmSync(folder, { recursive: true, force: true });
  });

  const result = ({ argv: words, options, shell }: Attempt) => {
    const quiet = { ...options, reject: false };
    return shell === undefined ? host.run(words, quiet) : host.sh(shell, quiet);
  };

  test.each(Object.entries(denied))('refuses %s', async (_, attempt) => {
    const { outcome, refusal, reason } = await result(attempt);
    expect({ outcome, refusal, reason }).toMatchObject({ outcome: 'refused', refusal: 'policy' });
    expect(reason).not.toMatch(/service|is not like|one of/);
  });

  test.each(Object.entries(allowed))('runs %s with the words as they were', async (_, attempt) => {
    const { outcome, stdout, reason } = await result(attempt);
    // Without a memory controller, a command with such a limit does not start.
    if (attempt.options?.limits && outcome === 'refused') return expect(reason).toMatch(/memory/);
    expect({ outcome, reason }).toMatchObject({ outcome: 'ok' });
    const [program, ...words] = attempt.argv;
    expect(stdout).toBe(program === 'printenv' ? 'slow\n' : `${words.join(' ')}\n`);
  });
});

/** Any message of a caller, well-formed or not, costs that caller at most its link: properties over all messages. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect, resolveHome, type Home, type Host } from 'sendall';
import { Agent } from '../../dist/agent/agent.js';
import { KeeperGate } from '../../dist/agent/gate.js';
import { ensureKeeper, type KeeperLink } from '../../dist/keeper/door/door.js';
import { decode, encode, encodeData, encodeSpec } from '../../dist/protocol/codec.js';
import type { Fields } from '../../dist/protocol/fields.js';
import {
  MESSAGES,
  SPEC_FIELDS,
  type Control,
  type Message,
  type MessageName,
  type Spec,
} from '../../dist/protocol/messages.js';
import { newRunId } from '../../dist/protocol/run-id.js';
import { removeHome } from '../remove-home.js';
import { Rogue } from './rogue.js';

/** Cases of each property; RUNS=1000 runs more. */
const RUNS = Number(process.env['RUNS'] ?? 40);
const SEED = Number(process.env['SEED'] ?? Date.now() % 1_000_000);

/** Runs of the attacker, so that its messages find a target. */
const runIds = Array.from({ length: 4 }, () => newRunId());

const numbers = fc.oneof(
  fc.integer({ min: 0, max: 20 }),
  fc.constantFrom(64, 65, 255, 65_535, 65_536, 0x7fff_ffff, 0xffff_ffff, Number.MAX_SAFE_INTEGER),
  fc.nat(),
);
const words = fc.oneof(
  fc.constantFrom('', 'control', 'observe', 'tree', 'group', 'owner', 'status', 'drain', 'retire', 'split', '\n\u009b'),
  fc.string({ maxLength: 40 }),
  fc.constant('x'.repeat(5000)),
);
const blobs = fc.oneof(
  fc.constantFrom(...runIds),
  fc.uint8Array({ maxLength: 40 }),
  fc.constant(Buffer.alloc(5000, 7)),
);

/** A value for most fields of a table; optional fields and lists may be omitted. */
function valuesOf(fields: Fields, depth = 0): fc.Arbitrary<Record<string, unknown>> {
  const model: Record<string, fc.Arbitrary<unknown>> = {};
  for (const [name, { of, repeated, optional }] of Object.entries(fields)) {
    const one: fc.Arbitrary<unknown> =
      of === 'uint'
        ? numbers
        : of === 'bool'
          ? fc.boolean()
          : of === 'string'
            ? words
            : of === 'bytes'
              ? blobs
              : valuesOf(of, depth + 1);
    const some = repeated ? fc.array(one, { maxLength: depth ? 2 : 20 }) : one;
    model[name] = optional ? fc.option(some, { nil: undefined }) : some;
  }
  return fc.record(model);
}

/** Harmless commands, with all kinds of specs. */
const specs = fc
  .tuple(
    fc.constantFrom(['true'], ['cat'], ['seq', '2000'], ['sleep', '1'], ['no-such-program'], ['/'], ['']),
    fc.record({
      stdin: fc.boolean(),
      pty: fc.option(fc.record({ cols: numbers, rows: numbers }), { nil: undefined }),
      timeoutMs: fc.option(numbers, { nil: undefined }),
      idleMs: fc.option(numbers, { nil: undefined }),
      killGraceMs: fc.option(numbers, { nil: undefined }),
      termAfterMs: fc.option(numbers, { nil: undefined }),
      keepMs: fc.option(numbers, { nil: undefined }),
      spoolMax: fc.option(numbers, { nil: undefined }),
      maxOutput: fc.option(numbers, { nil: undefined }),
      overflow: fc.constantFrom(undefined, 'block', 'stop', 'drop-old', 'other'),
      capture: fc.constantFrom(undefined, 'split', 'merged', 'other'),
      cwd: fc.constantFrom(undefined, Buffer.from('/'), Buffer.from('/no/such'), Buffer.alloc(9000, 0x61)),
      env: fc.array(fc.constantFrom(Buffer.from('A=b'), Buffer.from('PATH='), Buffer.from('=x')), { maxLength: 3 }),
      runAs: fc.constantFrom(undefined, undefined, undefined, 'no such user', '../x', ''),
      tags: fc.array(words, { maxLength: 3 }),
      name: fc.option(words, { nil: undefined }),
    }),
  )
  .map(([argv, rest]) =>
    encodeSpec({ verb: 'exec', argv: argv.map((word) => Buffer.from(word)), ...rest } as unknown as Spec),
  );
const strangeSpecs = fc.oneof(
  { weight: 8, arbitrary: specs },
  {
    weight: 1,
    // No shell text: it might be a real command.
    arbitrary: valuesOf(SPEC_FIELDS).map((spec) =>
      encodeSpec({ ...spec, verb: 'exec', argv: [], script: undefined } as unknown as Spec),
    ),
  },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 200 }) },
);

const names = Object.keys(MESSAGES) as MessageName[];
/** A message of any kind; those callers may send are more frequent. */
const controls: fc.Arbitrary<Control> = fc
  .tuple(
    fc.oneof(
      fc.constantFrom<MessageName>('OPEN', 'ATTACH', 'DETACH', 'CANCEL', 'SIGNAL', 'RESIZE', 'EOS', 'STOP', 'ACK'),
      fc.constantFrom<MessageName>('CREDIT', 'EXIT_ACK', 'LIST', 'FORGET', 'ASK'),
      fc.constantFrom(...names),
    ),
    fc.integer({ min: 0, max: 6 }),
  )
  .chain(([type, alias]) =>
    fc
      .record({ fields: valuesOf(MESSAGES[type][1]), spec: strangeSpecs, id: fc.constantFrom(...runIds) })
      .map(({ fields, spec, id }) => {
        const known = type === 'OPEN' || type === 'ATTACH' ? { runId: id } : {};
        const more = type === 'OPEN' ? { spec, notAfterMs: Date.now() + 60_000, epoch: undefined } : {};
        return { ...fields, ...known, ...more, type, alias } as unknown as Control;
      }),
  );
const pieces = fc
  .record({ alias: fc.integer({ min: 0, max: 6 }), stream: fc.nat({ max: 5 }), offset: numbers, bytes: blobs })
  .map(({ alias, stream, offset, bytes }) => encodeData(alias, stream, 0, offset, bytes));
const frames = fc.oneof(
  { weight: 8, arbitrary: controls.map((message) => encode(message)) },
  { weight: 2, arbitrary: pieces },
);
/** A frame with some bytes changed. */
const mutated = fc
  .tuple(frames, fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 3 }))
  .map(([frame, changes]) => {
    const copy = Buffer.from(frame);
    for (const [at, value] of changes) copy[at % copy.length] = value;
    return copy;
  });

/** An agent passes on only messages it could decode. */
function isWellFormed(message: Control): boolean {
  try {
    decode(encode(message));
    return true;
  } catch {
    return false;
  }
}

describe('an agent', () => {
  let home: Home;
  let agent: Agent;
  let host: Host;
  /** How often the agent had to restore its link to the keeper. */
  let relinked = 0;
  beforeAll(async () => {
    home = resolveHome({ SENDALL_HOME: mkdtempSync(join(tmpdir(), 'sendall-mutations-')) });
    const gate = new KeeperGate(home, { idleExitMs: 200 });
    gate.enter({
      forward: () => undefined,
      fromKeeper: () => undefined,
      keeperBack: () => void relinked++,
      keeperLost: () => void relinked++,
    });
    agent = new Agent({ home }, gate);
    await agent.open();
    relinked = 0;
    host = await connect('local', { home });
  });
  afterAll(async () => {
    await host.ask('stop', { runs: true });
    await host.close();
    await agent.close();
    await removeHome(home.state);
  });

  test.each([
    ['mutated', mutated],
    ['well-formed', frames],
  ])(
    'loses no data of other callers through %s messages',
    async (_which, messages) => {
      const bystander = host.run(['cat'], { stdin: 'pipe' });
      await bystander.started;
      await fc.assert(
        fc.asyncProperty(fc.array(messages, { minLength: 1, maxLength: 12 }), async (all) => {
          const rogue = await Rogue.authenticated(home.agentSocket);
          rogue.open(1, ['cat'], true);
          for (const frame of all) rogue.frame(frame);
          rogue.socket.end();
          expect((await host.run(['echo', 'fine'])).stdout).toBe('fine\n');
          rogue.socket.destroy();
          expect(relinked).toBe(0);
        }),
        { seed: SEED, numRuns: RUNS },
      );
      bystander.stdin.end('undisturbed');
      expect((await bystander).stdout).toBe('undisturbed');
      expect(host.resumes).toBe(0);
    },
    600_000,
  );
});

test('a keeper refuses an invalid message for one run, and goes on with the others', async () => {
  const home = resolveHome({ SENDALL_HOME: mkdtempSync(join(tmpdir(), 'sendall-mutations-')) });
  const heard: Message[] = [];
  let wake = (): void => undefined;
  const keeper: KeeperLink = await ensureKeeper(home, {
    idleExitMs: 200,
    onMessage(message) {
      heard.push(message);
      wake();
    },
  });
  const state = { gone: false };
  void keeper.closed.then(() => {
    state.gone = true;
    wake();
  });
  let opId = 1_000_000_000;
  const answered = async (): Promise<void> => {
    const asked = ++opId;
    keeper.send({ type: 'ASK', alias: 0, opId: asked, what: 'status' });
    while (!state.gone && !heard.some((message) => message.type === 'ANSWER' && message.opId === asked))
      await new Promise<void>((resolve) => (wake = resolve));
    heard.length = 0;
  };
  // Only agents send these, about themselves.
  const own = new Set<string>(['HELLO', 'ASK', 'PING']);
  await fc.assert(
    fc.asyncProperty(fc.array(controls, { minLength: 1, maxLength: 30 }), async (all) => {
      for (const message of all) if (!own.has(message.type) && isWellFormed(message)) keeper.send(message);
      keeper.sendData(1, 0, 0, 5, Buffer.from('x'));
      await answered();
      expect(state.gone).toBe(false);
    }),
    { seed: SEED, numRuns: RUNS },
  );
  keeper.send({ type: 'ASK', alias: 0, opId: 1, what: 'end-runs' });
  keeper.send({ type: 'ASK', alias: 0, opId: 2, what: 'drain' });
  await keeper.closed;
  await removeHome(home.state);
}, 600_000);

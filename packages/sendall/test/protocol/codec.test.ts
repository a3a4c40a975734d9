import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ProtocolError } from '../../src/errors.js';
import { decode, decodeSpec, encode, encodeData, encodeSpec } from '../../src/protocol/codec.js';
import type { Field, Fields } from '../../src/protocol/fields.js';
import {
  MESSAGES,
  SPEC_FIELDS,
  type Control,
  type Grant,
  type Limits,
  type Spec,
} from '../../src/protocol/messages.js';
import { formatRunId, newRunId, parseRunId } from '../../src/protocol/run-id.js';
import { protoText } from './proto-text.js';

const bytes = fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array));
const whole = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });

function valueOf(field: Field): fc.Arbitrary<unknown> {
  const { of, length } = field;
  const sized =
    length === undefined
      ? bytes
      : fc.uint8Array({ minLength: length, maxLength: length }).map((array) => Buffer.from(array));
  const one =
    typeof of === 'object'
      ? fieldsOf(of)
      : { uint: whole, bool: fc.boolean(), string: fc.string({ unit: 'grapheme' }), bytes: sized }[of];
  return field.repeated ? fc.array(one as fc.Arbitrary<unknown>, { maxLength: 3 }) : one;
}

function fieldsOf(fields: Fields): fc.Arbitrary<Record<string, unknown>> {
  const optional = Object.keys(fields).filter((name) => fields[name]!.optional);
  return fc.record(Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, valueOf(field)])), {
    requiredKeys: Object.keys(fields).filter((name) => !optional.includes(name)),
    noNullPrototype: true,
  });
}

describe('control messages', () => {
  test.each(Object.entries(MESSAGES))('%s comes back as it was sent', (type, [, fields]) => {
    fc.assert(
      fc.property(fieldsOf(fields), fc.integer({ min: 0, max: 0xffff_ffff }), (body, alias) => {
        const message = { ...body, type, alias } as unknown as Control;
        expect(decode(encode(message), 'agent')).toEqual(message);
      }),
      { numRuns: 50 },
    );
  });

  test('random bytes are a message or a ProtocolError, and nothing else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (array) => {
        const frame = Buffer.from(array);
        if (frame.length > 3) frame.fill(0, 1, 4);
        try {
          decode(frame);
        } catch (error) {
          expect((error as { code: string }).code).toBe('PROTOCOL');
        }
      }),
      { numRuns: 3000 },
    );
  });

  test('a message that lacks a field is refused, and the field is named', () => {
    const frame = encode({ type: 'PING', alias: 0, token: 7 });
    expect(() => decode(frame.subarray(0, 8))).toThrow(/PING: token is missing/);
  });

  const named = Object.entries(MESSAGES).flatMap(([type, [, fields]]) =>
    Object.entries(fields as Fields).flatMap(([name, { length }]) =>
      length === undefined ? [] : [[type, name, length] as const],
    ),
  );

  test('every name of a run, a journal or a link has a length of its own', () => {
    const names = new Set(named.map(([, name]) => name));
    expect(names).toEqual(new Set(['nonce', 'epoch', 'runId', 'specHash']));
    for (const [type, [, fields]] of Object.entries(MESSAGES))
      for (const [name, { length }] of Object.entries(fields as Fields))
        if (names.has(name)) expect([type, name, length]).toEqual([type, name, expect.any(Number)]);
  });

  test.each(named)('%s with a %s that has not %d bytes is refused, and the field is named', (type, name, length) => {
    const [, fields] = MESSAGES[type as keyof typeof MESSAGES];
    fc.assert(
      fc.property(fieldsOf(fields), bytes, (body, other) => {
        fc.pre(other.length !== length);
        const message = { ...body, [name]: other, type, alias: 1 } as unknown as Control;
        expect(() => decode(encode(message), 'agent')).toThrow(
          `${type}.${name}: ${other.length} bytes, and it has ${length}`,
        );
      }),
      { numRuns: 20 },
    );
  });

  const marked = Object.entries(MESSAGES).flatMap(([type, [, fields]]) =>
    Object.entries(fields as Fields).flatMap(([name, { agentOnly }]) => (agentOnly ? [[type, name] as const] : [])),
  );

  test('what an agent tells its keeper about a caller is marked', () => {
    expect(marked.map(([type, name]) => `${type} ${name}`)).toEqual([
      'OPEN principal',
      'OPEN link',
      'OPEN caller',
      'OPEN grant',
      'OPEN connection',
      'ATTACH principal',
      'ATTACH caller',
      'DETACH left',
      'DETACH gone',
      'FORGET principal',
      'LIST principal',
    ]);
  });

  test('a grant comes back with its limits', () => {
    const limits: Limits = { memory: 2 ** 40, cpuMs: 60_000, files: 256, processes: 64 };
    const grant: Grant = { rule: 'restart-web', policyRev: 3, program: Buffer.from('/usr/bin/systemctl'), limits };
    const [runId, spec] = [newRunId(), Buffer.from('x')];
    const open = { type: 'OPEN' as const, alias: 1, runId, spec, notAfterMs: 1, attach: [], secrets: [] };
    expect(decode(encode({ ...open, grant }), 'agent')).toMatchObject({ grant });
  });

  test.each(marked)('%s with a %s is refused unless an agent made it', (type, name) => {
    const [, fields] = MESSAGES[type as keyof typeof MESSAGES];
    const forged = valueOf((fields as Fields)[name]!);
    fc.assert(
      fc.property(fieldsOf(fields), forged, (body, value) => {
        // Alone: the error names the first one that it meets.
        const others = Object.fromEntries(Object.entries(body).filter(([key]) => !(fields as Fields)[key]!.agentOnly));
        const frame = encode({ ...others, [name]: value, type, alias: 1 } as unknown as Control);
        expect(() => decode(frame)).toThrow(`${type}.${name} is not for callers to set`);
        expect(decode(frame, 'agent')).toMatchObject({ type });
      }),
      { numRuns: 50 },
    );
  });

  test('an unknown field is skipped', () => {
    const frame = Buffer.concat([encode({ type: 'PING', alias: 0, token: 7 }), Buffer.from([0x78, 0x01])]);
    expect(decode(frame)).toEqual({ type: 'PING', alias: 0, token: 7 });
  });

  test('an unknown frame type is refused by number', () => {
    expect(() => decode(Buffer.from([0x7f, 0, 0, 0, 0, 0, 0, 0]))).toThrow(/unknown frame type 0x7f/);
  });

  test('sendall.proto says the same as the table', async () => {
    await expect(protoText()).toMatchFileSnapshot('../../sendall.proto');
  });
});

test('a piece of a stream comes back with its offset, up to 2^53 - 1', () => {
  fc.assert(
    fc.property(whole, fc.nat(255), fc.nat(2 ** 31 - 1), bytes, (offset, stream, gseq, piece) => {
      const message = decode(encodeData(9, stream, gseq, offset, piece));
      expect(message).toEqual({ type: 'DATA', alias: 9, stream, gseq, offset, bytes: piece });
    }),
  );
});

const spec = (part: Partial<Spec>): Spec => ({
  verb: 'exec',
  argv: [Buffer.from('x')],
  env: [],
  stdin: false,
  tags: [],
  secrets: [],
  ...part,
});

const PTY = { cols: 80, rows: 24, term: 'xterm-256color' };

describe('specs', () => {
  test('words that are not UTF-8 arrive as they were', () => {
    const argv = [Buffer.from([0x78, 0xff, 0xfe]), Buffer.from([0xc3])];
    expect(decodeSpec(encodeSpec(spec({ argv }))).argv.map((word) => Buffer.from(word))).toEqual(argv);
  });

  test.each([
    ['a NUL in a word', { argv: [Buffer.from('a\0b')] }, /argv\[0\] holds a NUL/],
    ['a NUL in a variable', { env: [Buffer.from('A=\0')] }, /env\[0\] holds a NUL/],
    ['a variable without =', { env: [Buffer.from('A')] }, /NAME=VALUE/],
    ['no words', { argv: [] }, /argv is empty/],
    ['an empty program', { argv: [Buffer.alloc(0)] }, /argv\[0\] is empty/],
    ['another verb', { verb: 'eval' }, /spec.verb must be one of exec, sh, put, get, forward/],
    ['another capture', { capture: 'some' }, /spec.capture must be one of split, merged, exact, ordered/],
    ['another overflow', { overflow: 'never' }, /spec.overflow must be one of block, stop, drop-old/],
    ['a terminal with a path for a name', { pty: { ...PTY, term: '../../tmp/x' } }, /spec.pty.term is not the name/],
    ['a terminal with an empty name', { pty: { ...PTY, term: '' } }, /spec.pty.term is not the name/],
    ['a terminal with a long name', { pty: { ...PTY, term: 'x'.repeat(65) } }, /spec.pty.term is not the name/],
    ['sh without text', { verb: 'sh' }, /script is missing/],
    [
      'a program for the account’s shell',
      { argv: [Buffer.from('x')], accountShell: true },
      /accountShell is for the verb sh/,
    ],
  ])('%s is refused, and named', (_, part, error) => {
    expect(() => decodeSpec(encodeSpec(spec(part)))).toThrow(error);
  });

  const own = { verb: 'put', argv: [Buffer.from('/srv/x')], stdin: true };
  test.each([
    ['no stdin', { stdin: false }, /spec.stdin of put is off/],
    ['no operand', { argv: [] }, /spec.argv of put has 0 words, not one/],
    ['two operands', { argv: [Buffer.from('/a'), Buffer.from('/b')] }, /spec.argv of put has 2 words, not one/],
    ['an empty operand', { argv: [Buffer.alloc(0)] }, /argv\[0\] is empty/],
    ['nothing to get', { verb: 'get', argv: [] }, /spec.argv of get has no path/],
    ['a NUL in an operand', { argv: [Buffer.from('/a\0b')] }, /argv\[0\] holds a NUL/],
    ['a variable', { env: [Buffer.from('NODE_OPTIONS=--require=/tmp/x')] }, /spec.env is not for put/],
    ['a folder', { cwd: Buffer.from('/') }, /spec.cwd is not for put/],
    ['text', { script: Buffer.from('id') }, /spec.script is not for put/],
    ['a terminal', { pty: PTY }, /spec.pty is not for put/],
    ['a secret', { secrets: [{ name: 'A', as: 'env' }] }, /spec.secrets is not for put/],
    ['a shell', { accountShell: true }, /spec.accountShell is for the verb sh/],
    ['records', { capture: 'exact' }, /spec.capture exact is not for put/],
    ['output that may be dropped', { overflow: 'drop-old' }, /spec.overflow drop-old is not for put/],
  ])('our own program with %s is refused, and named', (_, part, error) => {
    expect(() => decodeSpec(encodeSpec(spec({ ...own, ...part })))).toThrow(error);
  });

  test('operands of our own program come back as they were', () => {
    const argv = [Buffer.from([0x2d, 0xff, 0x0a]), Buffer.from('--'), Buffer.from('/srv/a b')];
    const limits = { memory: 1, files: 9 };
    const { argv: words, ...rest } = decodeSpec(encodeSpec(spec({ ...own, verb: 'get', argv, limits, passing: true })));
    expect(words.map((word) => Buffer.from(word))).toEqual(argv);
    expect(rest).toMatchObject({ verb: 'get', limits, passing: true });
  });

  test('every field of a spec comes back', () => {
    fc.assert(
      fc.property(fieldsOf(SPEC_FIELDS), (value) => {
        const sound = { verb: 'exec', argv: [Buffer.from('x')], env: [], capture: 'exact', overflow: 'stop', pty: PTY };
        const secrets = [{ name: 'DB', as: 'fd' }];
        const clean = { ...value, ...sound, secrets, cwd: undefined, script: undefined, accountShell: undefined };
        expect(decodeSpec(Buffer.from(encodeSpec(clean as unknown as Spec)))).toEqual(
          Object.fromEntries(Object.entries(clean).filter(([, v]) => v !== undefined)),
        );
      }),
    );
  });

  test('secrets come back with a variable each, or are refused; a name that is none is not shown', () => {
    const known = fc.constantFrom('DB', 'DB_FD', 'A', '_', 'LD_X', 'PATH', 'SENDALL_RUN', 'a b', '1', 'Ä', '');
    const secret = fc.record({ name: fc.oneof(known, fc.string()), as: fc.constantFrom('fd', 'env', 'no') });
    const env = fc.array(fc.constantFrom('DB=1', 'A_FD=2', '_=3', 'X=4').map((pair) => Buffer.from(pair)));
    fc.assert(
      fc.property(fc.array(secret, { maxLength: 5 }), env, (secrets, pairs) => {
        const raw = encodeSpec(spec({ argv: [Buffer.from('x')], env: pairs, secrets }));
        const variables = secrets.map(({ name, as }) => (as === 'env' ? name : `${name}_FD`));
        const taken = pairs.map((pair) => pair.toString().split('=', 1)[0]!);
        const sound =
          secrets.every(({ name, as }) => /^(?:DB|DB_FD|A|_)$/.test(name) && as !== 'no') &&
          new Set([...variables, ...taken]).size === variables.length + new Set(taken).size;
        try {
          expect(decodeSpec(raw).secrets).toEqual(secrets);
          expect(new Set(variables).size).toBe(variables.length);
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError);
          expect(sound).toBe(false);
          if (/is not allowed/.test((error as Error).message))
            expect((error as Error).message).toMatch(/^the name of secret \d is not allowed: letters/);
        }
      }),
    );
  });
});

test('the name of a terminal is 1 to 64 of a few characters, or the spec is refused', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 80 }), (term) => {
      const raw = encodeSpec(spec({ pty: { ...PTY, term } }));
      if (/^[\w.+-]{1,64}$/.test(term)) expect(decodeSpec(raw).pty?.term).toBe(term);
      else expect(() => decodeSpec(raw)).toThrow(/spec.pty.term/);
    }),
  );
});

describe('run ids', () => {
  test('sort by the time they were made and carry version 7', () => {
    const early = newRunId(1_700_000_000_000);
    const late = newRunId(1_700_000_000_001);
    expect(Buffer.compare(early, late)).toBe(-1);
    expect(formatRunId(early)).toMatch(/^018bcfe5-6800-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(parseRunId(formatRunId(early))).toEqual(early);
  });

  test('text that is not a run id is refused', () => {
    expect(() => parseRunId('018bcfe5')).toThrow(/is not a run id/);
  });
});

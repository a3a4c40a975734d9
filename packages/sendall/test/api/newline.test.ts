import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { UsageError, type Host } from 'sendall';
import { ownAgent, type OwnAgent } from './own-agent.js';

let own: OwnAgent;
let host: Host;
beforeAll(async () => {
  own = await ownAgent();
  host = own.host;
});
afterAll(() => own[Symbol.asyncDispose]());

const printed = (text: string, options = {}) => host.run(['printf', '%b', text], options);

describe('one newline at the end', () => {
  test.each([
    ['a', 'a'],
    ['a\\n', 'a'],
    ['a\\r\\n', 'a'],
    ['a\\n\\n', 'a\n'],
    ['a\\r', 'a\r'],
    ['\\n', ''],
    ['', ''],
  ])('of %j is left out by text(), by stripFinalNewline and in a string; bytes stay', async (given, stripped) => {
    const kept = await printed(given);
    // oxlint-disable-next-line typescript/restrict-template-expressions, typescript/no-base-to-string -- what is tested
    const inText = `in ${kept}`;
    const result = await printed(given, { stripFinalNewline: true });
    expect([await printed(given).text(), result.stdout, inText]).toEqual([stripped, stripped, `in ${stripped}`]);
    expect(result.raw.stdout.toString()).toBe(kept.stdout);
    expect(await printed(given, { stripFinalNewline: true }).bytes()).toEqual(kept.raw.stdout);
  });

  test('is kept by text() with stripFinalNewline: false', async () => {
    expect(await printed('a\\n', { stripFinalNewline: false }).text()).toBe('a\n');
  });

  test('of stderr, of a failed run and of long output too', async () => {
    const options = { stripFinalNewline: true, reject: false };
    const { stdout, stderr } = await host.sh('echo out; echo err >&2; exit 3', options);
    expect([stdout, stderr]).toEqual(['out', 'err']);
    expect((await host.run(['seq', '20000'], options)).stdout.endsWith('\n20000')).toBe(true);
  });

  test('of a run that was attached to', async () => {
    const run = printed('a\\n');
    await run;
    expect((await host.attach(run.runId, { stripFinalNewline: true })).stdout).toBe('a');
  });
});

describe('a result in a template', () => {
  test('is its stdout as one word, joined to what touches it', async () => {
    const name = await host.run(['echo', 'a b']);
    expect((await host.$`printf ${'%s|'} ${name} x=${name}y ${[name, 'z']}`).stdout).toBe('a b|x=a by|a b|z|');
  });

  test('inserts its bytes unchanged', async () => {
    const odd = await host.run(['printf', '\\377\\n']);
    expect((await host.$`printf ${'%s'} ${odd}`).raw.stdout).toEqual(Buffer.from([0xff]));
  });

  test('that is empty is an empty word', async () => {
    expect((await host.$`printf ${'[%s]'} ${await host.run(['true'])}`).stdout).toBe('[]');
  });

  test('whose stdout was read elsewhere, or arrived in part, is refused', async () => {
    const run = host.run(['echo', 'x']);
    for await (const _ of run.lines());
    const read = await run;
    expect(() => host.$`echo ${read}`).toThrow(/^\$\{…\} number 1 is a result without all of its stdout \(ok\)/);
    const cut = await host.run(['seq', '1000'], { maxBuffer: 10, reject: false });
    expect(() => host.$`echo a ${cut}`).toThrow(/without all of its stdout \(truncated\)/);
  });

  test('must be awaited', () => {
    expect(() => host.$`echo ${host.run(['true']) as never}`).toThrow(UsageError);
    expect(() => host.$`echo ${host.run(['true']) as never}`).toThrow(/await a run before its result is used/);
    expect(() => host.$`echo ${null as never}`).toThrow(/number 1 is not text/);
  });
});

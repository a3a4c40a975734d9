import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RunError, type Host, type Run } from 'sendall';
import { ownAgent, type OwnAgent } from './own-agent.js';

let own: OwnAgent;
let host: Host;
beforeAll(async () => {
  own = await ownAgent();
  host = own.host;
});
afterAll(() => own[Symbol.asyncDispose]());

async function failure(run: Run): Promise<RunError> {
  const error: unknown = await run.catch((thrown: unknown) => thrown);
  if (!(error instanceof RunError)) throw new Error('the run was ok');
  return error;
}

describe("a failed run's message", () => {
  test('has host, program, code and the last lines of stderr', async () => {
    const error = await failure(host.sh('echo starting >&2; echo "no space left" >&2; exit 3'));
    expect(error.message).toBe('the command ended with code 3 (local: sh)\nstarting\nno space left');
    expect(error.shortMessage).toBe('the command ended with code 3 (local: sh)');
  });

  test('contains the program, but neither its arguments nor its variables', async () => {
    const options = { env: { TOKEN: 'hunter2' } };
    const error = await failure(host.run(['sh', '-c', 'exit 3', 'sh', '--password=hunter2'], options));
    expect(inspect(error) + error.message).not.toContain('hunter2');
    expect((await failure(host.sh('exit 3 # hunter2'))).message).not.toContain('hunter2');
  });

  test('has ten lines at most, of 200 characters each', async () => {
    const { message } = await failure(host.sh('seq 5000 >&2; head -c 900 /dev/zero | tr "\\0" x >&2; exit 1'));
    const [first, ...lines] = message.split('\n');
    expect(first).toMatch(/code 1/);
    expect(lines.slice(0, 9)).toEqual(Array.from({ length: 9 }, (_, i) => String(4992 + i)));
    expect(lines.slice(9)).toEqual([`${'x'.repeat(200)}…`]);
  });

  test('is safe to print: no colours, other control characters as text', async () => {
    const { message } = await failure(
      host.sh(String.raw`printf '\033[31mred\033[0m\r\n\a\tbell \342\200\256x\n\n' >&2; exit 1`),
    );
    expect(message.split('\n').slice(1)).toEqual(['red', String.raw`\u{7} bell \u{202e}x`]);
  });

  test("is decoded with the run's encoding", async () => {
    const { message } = await failure(host.sh(String.raw`printf '\326\320\n' >&2; exit 1`, { encoding: 'gbk' }));
    expect(message).toMatch(/\n中$/);
  });

  test('says why a run did not start, without lines', async () => {
    const { message, shortMessage } = await failure(host.run(['no-such-program']));
    expect(message).toBe(shortMessage);
    expect(message).toContain('no-such-program');
  });
});

describe('inspect', () => {
  test('of a result is short and contains the essentials', async () => {
    const result = await host.sh('echo out; seq 1000 >&2; exit 4', { reject: false });
    const shown = inspect(result);
    expect(shown).toMatch(/^Result \{/);
    for (const part of ["outcome: 'failed'", 'code: 4', "host: 'local'", result.runId, String.raw`stdout: 'out\n'`])
      expect(shown).toContain(part);
    expect(shown).toMatch(/… <3893 bytes>/);
    expect(shown.length).toBeLessThan(900);
    expect(inspect({ deep: { deeper: { result } } }, { depth: 1 })).toContain('[Object]');
    expect(inspect([result], { depth: 0 })).toBe('[ [Result] ]');
  });

  test('of a long result does not show its output', async () => {
    expect(inspect(await host.run(['seq', '100000']))).toContain("stdout: '<588895 bytes>'");
  });

  test('of an error shows its stack and its fields', async () => {
    const why = new Error('stop');
    const shown = inspect(await failure(host.sh('echo bad >&2; exit 5')));
    expect(shown).toMatch(/^RunError: the command ended with code 5 \(local: sh\)\nbad\n +at /);
    expect(shown).toContain('exitCode: 5');
    expect(shown.match(/bad/g)).toHaveLength(1);
    expect(inspect(await failure(host.run(['true'], { signal: AbortSignal.abort(why) })))).toMatch(
      /cause: Error: stop/,
    );
  });

  test('a result keeps its own fields and no others', async () => {
    const result = await host.run(['echo', 'x']);
    expect(JSON.parse(JSON.stringify(result))).toMatchObject({ ok: true, stdout: 'x\n' });
    expect(Object.keys({ ...result })).not.toContain('toString');
  });
});

/** Control of a run that another caller takes while the page is still taking it. */
import { expect, test } from 'vitest';
import { Attachment } from '../../src/console/attachment.js';
import type { Host } from '../../src/index.js';
import { Subscription, type Outlet } from '../../src/console/subscription.js';

/** A run whose control can be lost, and whose answers come when they are told to. */
class FakeRun {
  readonly attached = Promise.resolve();
  readonly started = Promise.resolve({ startMs: 0 });
  readonly stdin = { on: () => undefined };
  readonly past = { starts: { stdout: 0, stderr: 0 }, ends: { stdout: 0, stderr: 0 }, screen: '' };
  readonly hasTerminal = true;
  readonly linked = true;
  controlEpoch: number | undefined;
  readonly controlLost: Promise<void>;
  readonly resized: Promise<void>;
  answerResize!: () => void;
  asksResize!: () => void;
  #lose!: () => void;
  #end!: () => void;
  readonly #ended = new Promise<void>((resolve) => (this.#end = resolve));
  readonly #answered = new Promise<void>((resolve) => (this.answerResize = resolve));

  constructor(mode: string) {
    if (mode === 'control') this.controlEpoch = 1;
    this.controlLost = new Promise((resolve) => (this.#lose = resolve));
    this.resized = new Promise((resolve) => (this.asksResize = resolve));
  }

  loseControl(): void {
    this.controlEpoch = undefined;
    this.#lose();
  }

  async resize(): Promise<void> {
    this.asksResize();
    await this.#answered;
  }

  async detach(): Promise<void> {
    this.#end();
  }

  async *events(): AsyncGenerator<never> {
    await this.#ended;
    yield* [];
  }
}

function attachment(mode: 'watch' | 'control') {
  const runs: FakeRun[] = [];
  const host = {
    id: 'web1',
    attach: (_id: string, options: { mode: string }) => {
      const run = new FakeRun(options.mode);
      runs.push(run);
      return run;
    },
  };
  const told: object[] = [];
  const outlet: Outlet = {
    text: async (message) => void told.push(message),
    frame: async () => undefined,
    place: async () => () => undefined,
  };
  const sub = new Subscription<'terminal'>(1, outlet, 0, () => undefined);
  const wish = { host: 'web1', runId: 'id', from: 'start', mode, size: { cols: 80, rows: 24 } } as const;
  return { attached: new Attachment(host as unknown as Host, wish, sub, 0), runs, told, sub };
}

test('is told as it is when the page has taken it', async () => {
  const { attached, runs, told, sub } = attachment('watch');
  await attached.open();
  const passing = attached.pass();
  const taking = attached.take();
  await expect.poll(() => runs.length).toBe(2);
  const [, taken] = runs;
  await taken!.resized;
  taken!.loseControl();
  await expect.poll(() => told).toEqual([{ sub: 1, event: { event: 'control', held: false } }]);
  taken!.answerResize();
  await taking;
  expect(told.at(-1)).toEqual({ sub: 1, event: { event: 'control', held: false } });
  await expect(attached.stdin(Buffer.from('x'), false)).rejects.toMatchObject({ code: 'NOT_IN_CONTROL' });
  sub.end();
  await passing;
});

test('is told as it is when the subscription begins', async () => {
  const { attached, runs } = attachment('control');
  const opening = attached.open();
  runs[0]!.loseControl();
  runs[0]!.answerResize();
  expect(await opening).toMatchObject({ control: false });
});

import { rename } from 'node:fs/promises';
import { createServer, connect as dial, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { Machine } from './machine.js';
import { until } from '../../../../test/support/waits.js';

/** A proxy between the agent and its keeper that loses the agent's messages on request. */
class Between {
  /** Lost bytes. */
  lost = 0;
  deaf = false;
  readonly #agents = new Set<Socket>();

  static async at(path: string): Promise<Between> {
    const between = new Between();
    await rename(path, `${path}.real`);
    const server = createServer((agent) => {
      const keeper = dial(`${path}.real`);
      between.#agents.add(agent);
      agent.on('data', (bytes) => {
        if (between.deaf) between.lost += bytes.length;
        else keeper.write(bytes);
      });
      keeper.on('data', (bytes) => void agent.write(bytes));
      for (const [one, other] of [
        [agent, keeper],
        [keeper, agent],
      ] as const)
        one.on('error', () => undefined).on('close', () => other.destroy());
    });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    onTestFinished(() => void server.close());
    return between;
  }

  /** Cuts every connection; new ones are possible. */
  cut(): void {
    this.deaf = false;
    for (const agent of this.#agents) agent.destroy();
    this.#agents.clear();
  }

  /** Loses the agent's messages after `act`, and cuts. Returns the promise of `act`. */
  async lose<T>(act: () => T): Promise<{ came: T }> {
    this.deaf = true;
    this.lost = 0;
    const came = act();
    await until(() => this.lost > 0, 'words to be lost');
    this.cut();
    return { came };
  }
}

async function machineWith(): Promise<{ machine: Machine; between: Between }> {
  const machine = await Machine.start();
  const between = await Between.at(machine.home.keeperSocket);
  // The agent's present connection bypasses it.
  await machine.killAgent();
  await machine.startAgent();
  return { machine, between };
}

test('a cancel that was lost with the link to the keeper is repeated', async () => {
  const { machine, between } = await machineWith();
  const host = await machine.connect();
  const run = host.run(['sleep', '600'], { reject: false });
  await run.started;
  await between.lose(() => void run.cancel());
  expect((await run).outcome).toBe('cancelled');
  expect(host.resumes).toBe(0);
});

test('signals that were lost with it are done once', async () => {
  const { machine, between } = await machineWith();
  const host = await machine.connect();
  const run = host.sh(`n=0; trap 'n=$((n+1)); echo $n' USR1; echo ready; while ! [ -e "$GO" ]; do sleep 0.01; done`, {
    env: { GO: `${machine.home.state}/go` },
  });
  const lines = run.lines()[Symbol.asyncIterator]();
  expect((await lines.next()).value).toBe('ready');
  const { came } = await between.lose(() => run.kill('SIGUSR1', { scope: 'leader' }));
  expect(await came).toMatchObject({ result: 'done' });
  expect((await lines.next()).value).toBe('1');
  await host.run(['touch', `${machine.home.state}/go`]);
  expect(await lines.next()).toEqual({ done: true, value: undefined });
});

test('the end of a reader is reported again', async () => {
  const { machine, between } = await machineWith();
  const host = await machine.connect();
  const run = host.run(['yes'], { reject: false, maxBuffer: 1024 * 1024 * 1024 });
  await run.started;
  await until(() => run.offsets.stdout > 0, 'output');
  await between.lose(() => run.stopReading('stdout'));
  expect((await run).signal).toBe('SIGPIPE');
});

test('stdin and its end that were lost with it arrive', async () => {
  const { machine, between } = await machineWith();
  const host = await machine.connect();
  const run = host.run(['cat'], { stdin: 'pipe' });
  await run.started;
  await between.lose(() => run.stdin.end('whole'));
  expect((await run).stdout).toBe('whole');
});

test('an OPEN that was lost with it starts the command, once', async () => {
  const { machine, between } = await machineWith();
  const host = await machine.connect();
  const { came } = await between.lose(() => host.sh(`mkdir ${machine.home.state}/once && echo started`));
  expect((await came).stdout).toBe('started\n');
});

test('a question that was lost with it is repeated', async () => {
  const { machine, between } = await machineWith();
  const host = await machine.connect();
  const { runId } = await host.run(['true']);
  const status = await between.lose(() => machine.status());
  expect((await status.came).keeperPid).toBeGreaterThan(0);
  const list = await between.lose(() => host.runs({ all: true }).next());
  expect((await list.came).value).toMatchObject({ runId });
});

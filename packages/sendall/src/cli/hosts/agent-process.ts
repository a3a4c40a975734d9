/** The agent of this home as a process: starts one in the background, asks it, and ends it. */
import { SendallError, UnreachableError } from '../../errors.js';
import { connect, type AgentStatus } from '../../index.js';
import { startInBackground } from './background.js';

/** Milliseconds for an old agent to end, and for a new one to answer, whose keeper may take two minutes to start. */
const WITHIN = 150_000;

/** What the running agent says of itself; undefined when none answers. */
export async function agentStatus(): Promise<AgentStatus | undefined> {
  try {
    await using host = await connect('local');
    return await host.ask<AgentStatus>('status');
  } catch {
    return undefined;
  }
}

/**
 * Asks the agent to stop and waits until it no longer answers. Commands go on in the keeper, unless `runs`.
 * @throws UnreachableError when no agent answers, or when it does not end.
 */
export async function stopAgent({ runs = false } = {}): Promise<AgentStatus> {
  const before = await (async () => {
    await using host = await connect('local');
    const said = await host.ask<AgentStatus>('status');
    await host.ask('stop', { runs });
    return said;
  })();
  await until(async () => (await agentStatus())?.pid !== before.pid, 'the old agent does not end');
  return before;
}

/**
 * Starts `sendall agent WORDS` in the background and waits until it answers. `program`: another installation's, with
 * its Node.
 * @throws SendallError with what it said when it ends instead.
 */
export async function startAgent(words: readonly string[], program?: [node: string, program: string]): Promise<number> {
  const child = startInBackground(['agent', ...words], 'pipe', program);
  // Beside its own socket. A broker may take a while.
  const addresses = words.filter((word) => word === '--listen').length;
  let heard = '';
  let failed = false;
  child.once('error', (error) => {
    heard = error.message;
    failed = true;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (heard += text));
  child.once('exit', () => (failed = true));
  await until(async () => {
    if (failed)
      throw new SendallError(
        'AGENT',
        `no agent runs now, start one with "sendall agent"; the new one said: ${heard.trim()}`,
      );
    const said = await agentStatus();
    return said !== undefined && said.pid === child.pid && said.listening.length > addresses;
  }, 'the new agent does not answer');
  child.stderr?.destroy();
  return child.pid!;
}

/**
 * Looks again and again.
 * @throws UnreachableError when `done` is not so in time.
 */
export async function until(done: () => Promise<boolean>, failure: string): Promise<void> {
  const deadline = performance.now() + WITHIN;
  while (!(await done())) {
    if (performance.now() > deadline) throw new UnreachableError(`${failure}: see "sendall agent status"`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

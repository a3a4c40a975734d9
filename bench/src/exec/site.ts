/** Two sendall installations in temporary folders: "near" calls, "far" is its paired host web1. */
import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
export const SENDALL = fileURLToPath(new URL('../../../packages/sendall/bin/sendall.js', import.meta.url));

/** Commands get a rebuilt environment, and so do we; the caller's home is not used. */
export const envOf = (home: string) => ({ ...process.env, SENDALL_HOME: home });

export async function sendall(home: string, ...words: readonly string[]) {
  const { stdout } = await run(process.execPath, [SENDALL, ...words], { env: envOf(home) });
  return stdout;
}

async function startAgent(home: string, ...options: readonly string[]) {
  const agent = spawn(process.execPath, [...agentFlags(home), SENDALL, 'agent', ...options], {
    env: envOf(home),
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const urls: string[] = [];
  for await (const line of createInterface({ input: agent.stderr })) {
    const url = /^listening (\S+)/.exec(line)?.[1];
    if (url) urls.push(url);
    if (urls.length === 1 + options.filter((word) => word === '--listen').length) break;
  }
  agent.stderr.resume();
  const status = JSON.parse(await sendall(home, 'agent', 'status', '--json'));
  return { agent, urls, pids: [status.pid, status.keeperPid], fingerprint: status.fingerprint };
}

/** BENCH_PROFILE=FOLDER writes a CPU profile of each agent there. */
const agentFlags = (home: string) =>
  process.env.BENCH_PROFILE
    ? [
        '--cpu-prof',
        `--cpu-prof-dir=${process.env.BENCH_PROFILE}`,
        `--cpu-prof-name=agent-${basename(home)}.cpuprofile`,
      ]
    : [];

/** `listen`, `more`: where the paired host listens besides its own socket. */
export async function openSite(listen = 'tls://127.0.0.1:0', ...more: readonly string[]) {
  const folder = mkdtempSync(join(tmpdir(), 'sendall-bench-'));
  const near = join(folder, 'near');
  const far = join(folder, 'far');
  const agents: Awaited<ReturnType<typeof startAgent>>[] = [];
  async function close() {
    for (const [i, { agent, pids }] of agents.entries()) {
      const home = [near, far][i];
      const ended = new Promise((resolve) => agent.once('exit', resolve));
      await sendall(home, 'agent', 'stop', '--runs').catch(() => agent.kill('SIGTERM'));
      await ended;
      for (const pid of pids)
        try {
          process.kill(pid, 'SIGKILL');
        } catch {
          // The process has ended by itself.
        }
    }
    rmSync(folder, { recursive: true, force: true });
  }
  try {
    agents.push(await startAgent(near));
    agents.push(await startAgent(far, ...[listen, ...more].flatMap((url) => ['--listen', url])));
    const url = agents[1].urls.find((each) => each.startsWith('tls:')) ?? '';
    const { code } = JSON.parse(await sendall(far, 'pair', '--new', '--json'));
    await sendall(near, 'pair', url, '--code', code, '--name', 'web1');
    return {
      folder,
      near,
      far,
      url,
      nearPids: agents[0].pids,
      farPids: agents[1].pids,
      fingerprint: agents[1].fingerprint,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** A real nats-server on free ports of loopback, with a configuration of the test's own. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from '../../../../test/support/waits.js';

export interface NatsServer extends AsyncDisposable {
  readonly port: number;
  readonly url: string;
  /** Kills the server. `again` starts it on the same port. */
  kill(): Promise<void>;
  again(): Promise<void>;
  /** Stops and continues the process. */
  signal(name: 'SIGSTOP' | 'SIGCONT'): void;
}

export interface NatsServerOptions {
  /** More lines of its configuration. */
  readonly config?: string;
  readonly port?: number;
}

/** Starts one, and waits until it listens. */
export async function natsServer({ config = '', port = -1 }: NatsServerOptions = {}): Promise<NatsServer> {
  const folder = mkdtempSync(join(tmpdir(), 'nats-server-'));
  let child: ChildProcess | undefined;
  let listening = port;
  const start = async (): Promise<void> => {
    const ports = mkdtempSync(join(folder, 'ports-'));
    const file = join(folder, 'server.conf');
    writeFileSync(file, `listen: "127.0.0.1:${listening}"\nports_file_dir: "${ports}"\n${config}\n`);
    let said = '';
    const started = spawn('nats-server', ['-c', file], { stdio: ['ignore', 'ignore', 'pipe'] });
    started.stderr.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-4000)));
    child = started;
    const found = await until(
      () => {
        if (started.exitCode !== null) throw new Error(`nats-server ended: ${said}`);
        const [name] = readdirSync(ports);
        return name === undefined ? undefined : parsePorts(readFileSync(join(ports, name), 'utf8'));
      },
      () => `nats-server to listen: ${said}`,
    );
    listening = found!;
  };
  const kill = async (): Promise<void> => {
    const ending = child;
    child = undefined;
    if (!ending || ending.exitCode !== null || ending.signalCode !== null) return;
    const ended = new Promise((resolve) => ending.once('exit', resolve));
    ending.kill('SIGKILL');
    await ended;
  };
  await start();
  return {
    get port() {
      return listening;
    },
    get url() {
      return `nats://127.0.0.1:${listening}`;
    },
    kill,
    again: start,
    signal: (name) => void child?.kill(name),
    async [Symbol.asyncDispose]() {
      await kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** The file appears before it is written. */
function parsePorts(text: string): number | undefined {
  try {
    const { nats } = JSON.parse(text) as { nats: string[] };
    return Number(/:(\d+)$/.exec(nats[0] ?? '')?.[1]) || undefined;
  } catch {
    return undefined;
  }
}

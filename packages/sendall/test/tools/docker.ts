/** A Docker daemon for a test, in a folder of its own and without a network. Needs root. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from '../../../../test/support/waits.js';

export interface Docker extends AsyncDisposable {
  /** The value of DOCKER_HOST. */
  readonly url: string;
}

/** Starts a daemon whose socket a group may open; it has one image, "tiny", with `sh` and `cat`. */
export async function startDocker(group: string): Promise<Docker> {
  const folder = mkdtempSync(join(tmpdir(), 'sendall-docker-'));
  execFileSync('chmod', ['755', folder]);
  const url = `unix://${folder}/docker.sock`;
  const places = ['data-root', 'exec-root', 'pidfile'].map((name) => `--${name}=${folder}/${name}`);
  const noNetwork = ['--bridge=none', '--iptables=false', '--ip6tables=false'];
  const words = ['--storage-driver=vfs', `--group=${group}`, `--host=${url}`, ...places, ...noNetwork];
  const daemon = spawn('dockerd', words, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  daemon.stderr.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-2000)));
  const docker: Docker = {
    url,
    async [Symbol.asyncDispose]() {
      daemon.kill('SIGTERM');
      if (daemon.exitCode === null) await once(daemon, 'exit');
      rmSync(folder, { recursive: true, force: true });
    },
  };
  const isUp = (): boolean => {
    if (daemon.exitCode !== null) throw new Error(`dockerd ended: ${said}`);
    return said.includes('API listen on');
  };
  const image = "tar -ch $(ldd /bin/sh /bin/cat | grep -o '/[^ :]*' | sort -u) | docker import - tiny";
  try {
    await until(isUp, () => `dockerd: ${said}`);
    execFileSync('bash', ['-c', image], { cwd: '/', env: { ...process.env, DOCKER_HOST: url }, stdio: 'pipe' });
  } catch (error) {
    await docker[Symbol.asyncDispose]();
    throw error;
  }
  return docker;
}

/**
 * One contestant in a process of its own, controlled by messages: runs `true` a number of times, counts the output of a
 * command, makes new connections. Each kind does the same work by its own means.
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect as tlsConnect } from 'node:tls';
import type { Readable } from 'node:stream';
import type { Host } from 'sendall';
import type { ClientChannel, Client as SshClient } from 'ssh2';

/** The benchmark's setup message; each kind uses its own fields. */
interface Setup {
  words: readonly string[];
  port: number;
  user: string;
  key: string;
  noDelay?: boolean;
  cipher?: string;
  cert: string;
  target: string;
}

/** One question of the benchmark. */
interface Question {
  ask: string;
  times: number;
  atOnce: number;
  command: string;
}

interface Contestant {
  /** Runs before any timing. */
  open?: () => Promise<unknown>;
  /** Runs `true`; returns whether it exited with 0. */
  one?: () => Promise<boolean>;
  /** Runs shell text and counts the bytes of its stdout. */
  output?: (command: string) => Promise<number>;
  /** Runs after the output was timed: removes its files, as writing them back would slow the next contestant. */
  tidy?: () => Promise<unknown>;
  /** A new connection, one `true`, and the end of the connection. */
  cold?: () => Promise<boolean>;
}

const ends = ([program, ...words]: readonly string[]): Promise<boolean> =>
  new Promise((resolve, reject) => {
    const child = spawn(program, words, { stdio: 'pipe' });
    child.stdin.end();
    child.stdout.resume();
    child.stderr.resume();
    child.once('error', reject).once('close', (code) => resolve(code === 0));
  });

const count = (stream: Readable): Promise<number> =>
  new Promise((resolve, reject) => {
    let bytes = 0;
    stream.on('data', (chunk) => (bytes += chunk.length));
    stream.once('error', reject).once('end', () => resolve(bytes));
  });

const outputOf = async ([program, ...words]: readonly string[]) =>
  await count(spawn(program, words, { stdio: ['ignore', 'pipe', 'inherit'] }).stdout);

const kinds: Record<string, (setup: Setup) => Contestant> = {
  /** child_process.spawn on this machine. */
  spawn: () => ({
    one: async () => await ends(['/bin/true']),
    output: async (command) => await outputOf(['/bin/sh', '-c', command]),
  }),

  /** The ssh program: a process for each command. */
  ssh: ({ words }) => ({
    one: async () => await ends([...words, 'bench', 'true']),
    // A counter in C reads the output, so that Node's reading does not slow it.
    output: async (command) => {
      const child = spawn('/bin/sh', ['-c', '"$@" | wc -c', 'sh', ...words, 'bench', command]);
      let text = '';
      for await (const chunk of child.stdout) text += String(chunk);
      return Number(text);
    },
  }),

  /** npm ssh2: one connection, a channel for each command. */
  ssh2({ port, user, key, noDelay, cipher }) {
    const dial = async () => {
      const { Client } = (await import('ssh2')).default;
      return await new Promise<SshClient>((resolve, reject) => {
        const client = new Client();
        client.once('error', reject);
        client.once('ready', () => {
          if (noDelay) client.setNoDelay(true);
          resolve(client);
        });
        const algorithms = cipher ? { algorithms: { cipher: [cipher] } } : {};
        client.connect({ host: '127.0.0.1', port, username: user, privateKey: readFileSync(key), ...algorithms });
      });
    };
    const exec = (client: SshClient, command: string) =>
      new Promise<{ code: number; bytes: number }>((resolve, reject) =>
        client.exec(command, (error: Error | undefined, channel: ClientChannel) => {
          if (error) return reject(error);
          let bytes = 0;
          let code = -1;
          channel.on('data', (chunk: Buffer) => (bytes += chunk.length));
          channel.stderr.resume();
          channel.once('exit', (it: number) => (code = it));
          channel.once('close', () => resolve({ code, bytes }));
          return undefined;
        }),
      );
    let client: SshClient;
    return {
      open: async () => (client = await dial()),
      one: async () => (await exec(client, 'true')).code === 0,
      output: async (command) => (await exec(client, command)).bytes,
      async cold() {
        const fresh = await dial();
        const { code } = await exec(fresh, 'true');
        fresh.end();
        return code === 0;
      },
    };
  },

  /** Nothing but a TLS socket; see tls-server.ts. */
  tls: ({ port, cert }) => ({
    output: async (command) => {
      const socket = tlsConnect({
        port,
        host: '127.0.0.1',
        ca: readFileSync(cert),
        servername: 'bench',
        minVersion: 'TLSv1.3',
      });
      socket.setNoDelay(true);
      socket.write(`${command}\n`);
      const bytes = await count(socket);
      socket.end();
      return bytes;
    },
  }),

  sendall({ target }) {
    let host: Host;
    let api: typeof import('sendall');
    let latest = '';
    return {
      async open() {
        api = await import('sendall');
        host = await api.connect(target);
      },
      one: async () => (await host.run(['/bin/true'])).ok,
      async output(command) {
        const run = host.sh(command);
        latest = run.runId;
        const bytes = await count(run.stdout);
        const result = await run;
        if (result.finals.stdout !== bytes) throw new Error(`${bytes} bytes were read of ${result.finals.stdout}`);
        return bytes;
      },
      tidy: async () => await host.forget(latest),
      async cold() {
        const fresh = await api.connect(target);
        const { ok } = await fresh.run(['/bin/true']);
        await fresh.close();
        return ok;
      },
    };
  },
};

const contestant = kinds[process.argv[2]](JSON.parse(process.argv[3] ?? '{}') as Setup);

/** Runs `work` this many times, a limited number at a time. */
async function repeat(times: number, atOnce: number, work: Contestant['one']) {
  if (!work) throw new Error('this contestant has no such discipline');
  const ms: number[] = [];
  let begun = 0;
  let failed = 0;
  const start = performance.now();
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      while (begun < times) {
        begun++;
        const from = performance.now();
        if (!(await work())) failed++;
        ms.push(performance.now() - from);
      }
    }),
  );
  if (failed) throw new Error(`${failed} of ${times} commands failed`);
  return { ms, wall: (performance.now() - start) / 1000 };
}

const answers: Record<string, (question: Question) => Promise<object>> = {
  open: async () => {
    await contestant.open?.();
    return {};
  },
  true: async ({ times, atOnce }) => await repeat(times, atOnce, contestant.one),
  cold: async ({ times }) => await repeat(times, 1, contestant.cold),
  output: async ({ command }) => {
    const start = performance.now();
    const bytes = await contestant.output?.(command);
    const secs = (performance.now() - start) / 1000;
    await contestant.tidy?.();
    return { bytes, secs };
  },
};

process.on('message', (question: Question) => {
  answers[question.ask](question).then(
    (answer) => process.send?.(answer),
    (error) => process.send?.({ error: String(error?.stack ?? error) }),
  );
});
process.on('disconnect', () => process.exit());

// @ts-check
/**
 * One contestant in a process of its own, asked by messages: `true` a number of times, the output of a command counted,
 * new connections. Each kind does the same work by its own means.
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { connect as tlsConnect } from 'node:tls';

/**
 * @typedef {object} Contestant
 * @property {() => Promise<unknown>} [open] Before anything is timed.
 * @property {() => Promise<boolean>} [one] Runs `true`; whether it ended with 0.
 * @property {(command: string) => Promise<number>} [output] Runs shell text and counts the bytes of its stdout.
 * @property {() => Promise<unknown>} [tidy] After the output was timed: what is left of it on the disk goes, for writing it back
 *   would be a burden on whoever comes next.
 * @property {() => Promise<boolean>} [cold] A new connection, one `true`, and its end.
 */

/** @param {readonly string[]} words @returns {Promise<boolean>} */
const ends = ([program, ...words]) =>
  new Promise((resolve, reject) => {
    const child = spawn(program, words, { stdio: 'pipe' });
    child.stdin.end();
    child.stdout.resume();
    child.stderr.resume();
    child.once('error', reject).once('close', (code) => resolve(code === 0));
  });

/** @param {import('node:stream').Readable} stream @returns {Promise<number>} */
const count = (stream) =>
  new Promise((resolve, reject) => {
    let bytes = 0;
    stream.on('data', (chunk) => (bytes += chunk.length));
    stream.once('error', reject).once('end', () => resolve(bytes));
  });

/** @param {readonly string[]} words */
const outputOf = async ([program, ...words]) =>
  await count(spawn(program, words, { stdio: ['ignore', 'pipe', 'inherit'] }).stdout);

/** @type {Record<string, (options: any) => Contestant>} */
const kinds = {
  /** child_process.spawn on this machine. */
  spawn: () => ({
    one: async () => await ends(['/bin/true']),
    output: async (command) => await outputOf(['/bin/sh', '-c', command]),
  }),

  /** The ssh program: a process for each command. */
  ssh: ({ words }) => ({
    one: async () => await ends([...words, 'bench', 'true']),
    // A counter in C takes its output, so that Node's reading is no burden on it.
    output: async (command) => {
      const child = spawn('/bin/sh', ['-c', '"$@" | wc -c', 'sh', ...words, 'bench', command]);
      let text = '';
      for await (const chunk of child.stdout) text += String(chunk);
      return Number(text);
    },
  }),

  /** npm ssh2: one connection, a channel for each command. */
  ssh2({ port, user, key, noDelay, cipher }) {
    const { Client } = createRequire(import.meta.url)('ssh2');
    const dial = () =>
      new Promise((resolve, reject) => {
        const client = new Client();
        client.once('error', reject);
        client.once('ready', () => {
          if (noDelay) client.setNoDelay(true);
          resolve(client);
        });
        const algorithms = cipher ? { algorithms: { cipher: [cipher] } } : {};
        client.connect({ host: '127.0.0.1', port, username: user, privateKey: readFileSync(key), ...algorithms });
      });
    const exec = (/** @type {any} */ client, /** @type {string} */ command) =>
      new Promise((resolve, reject) =>
        client.exec(command, (/** @type {Error} */ error, /** @type {any} */ channel) => {
          if (error) return reject(error);
          let bytes = 0;
          let code = -1;
          channel.on('data', (/** @type {Buffer} */ chunk) => (bytes += chunk.length));
          channel.stderr.resume();
          channel.once('exit', (/** @type {number} */ it) => (code = it));
          channel.once('close', () => resolve({ code, bytes }));
          return undefined;
        }),
      );
    /** @type {any} */
    let client;
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

  /** A TLS socket and nothing else; see tls-server.js. */
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
    /** @type {import('sendall').Host} */
    let host;
    /** @type {typeof import('sendall')} */
    let api;
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

const contestant = kinds[process.argv[2]](JSON.parse(process.argv[3] ?? '{}'));

/** Runs `work` as often as asked, so many at a time. @param {number} times @param {number} atOnce @param {() => Promise<boolean>} work */
async function repeat(times, atOnce, work) {
  /** @type {number[]} */
  const ms = [];
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

/** @type {Record<string, (request: any) => Promise<object>>} */
const answers = {
  open: async () => {
    await contestant.open?.();
    return {};
  },
  true: async ({ times, atOnce }) => await repeat(times, atOnce, /** @type {any} */ (contestant.one)),
  cold: async ({ times }) => await repeat(times, 1, /** @type {any} */ (contestant.cold)),
  output: async ({ command }) => {
    const start = performance.now();
    const bytes = await contestant.output?.(command);
    const secs = (performance.now() - start) / 1000;
    await contestant.tidy?.();
    return { bytes, secs };
  },
};

process.on('message', (/** @type {any} */ request) => {
  answers[request.ask](request).then(
    (answer) => process.send?.(answer),
    (error) => process.send?.({ error: String(error?.stack ?? error) }),
  );
});
process.on('disconnect', () => process.exit());

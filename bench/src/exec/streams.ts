/**
 * Streams through whole processes of the command line, compared with ssh over a warm master: small messages there and
 * back, and large files into and out of a remote command.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { closeSync, constants, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { median } from './figures.js';

/** A command and its environment. */
export type Program = { words: readonly string[]; env: NodeJS.ProcessEnv };

/** Waits for a child to exit with 0. */
const ended = (child: ChildProcess, name: string) =>
  new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => (code === 0 ? resolve(undefined) : reject(new Error(`${name} ended with ${code}`))));
  });

/**
 * A remote `cat` with FIFOs at its ends, written and read with blocking calls, so that the measuring process costs as
 * little as a C program.
 */
export function openPingPong(name: string, { words, env }: Program, folder: string) {
  const paths = ['in', 'out'].map((end) => join(folder, `${name}-${end}`));
  for (const path of paths) execFileSync('mkfifo', [path]);
  // With both ends open here, none of the four opens below blocks.
  const both = paths.map((path) => openSync(path, constants.O_RDWR));
  const [theirIn, ours] = [openSync(paths[0], 'r'), openSync(paths[0], 'w')];
  const [answers, theirOut] = [openSync(paths[1], 'r'), openSync(paths[1], 'w')];
  const child = spawn(words[0], words.slice(1), { env, stdio: [theirIn, theirOut, 'inherit'] });
  for (const fd of [...both, theirIn, theirOut]) closeSync(fd);
  const end = ended(child, name);
  return {
    /** The median round trip of this many, in milliseconds. */
    ping: (times: number, size: number) => {
      const message = Buffer.alloc(size, 'x');
      const answer = Buffer.alloc(64 * 1024);
      const ms: number[] = [];
      for (let i = 0; i < times; i++) {
        const start = performance.now();
        writeSync(ours, message);
        for (let got = 0; got < size;) got += readSync(answers, answer);
        ms.push(performance.now() - start);
      }
      return median(ms);
    },
    close: async () => {
      closeSync(ours);
      await end;
      closeSync(answers);
      for (const path of paths) rmSync(path);
    },
  };
}

/** Seconds a program takes to read a file as its stdin. */
export async function upload({ words, env }: Program, file: string) {
  const start = performance.now();
  const input = openSync(file, 'r');
  const child = spawn(words[0], words.slice(1), { env, stdio: [input, 'ignore', 'inherit'] });
  closeSync(input);
  await ended(child, words.join(' '));
  return (performance.now() - start) / 1000;
}

/** Seconds a program takes to deliver this many bytes, counted by a C program. */
export async function download({ words, env }: Program, size: number) {
  const start = performance.now();
  const child = spawn('/bin/sh', ['-c', '"$@" | wc -c', 'sh', ...words], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  const end = ended(child, words.join(' '));
  let text = '';
  for await (const chunk of child.stdout) text += String(chunk);
  await end;
  if (Number(text) !== size) throw new Error(`${words.join(' ')} brought ${text.trim()} bytes of ${size}`);
  return (performance.now() - start) / 1000;
}

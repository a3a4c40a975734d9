/** The handlers of the phenomenon `concurrency`, in a module that threads and processes load. */
import { pbkdf2Sync } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { StreamRequestHandler } from '@sendall/socketserver';

/** The milliseconds that each request takes. */
export const WORK_MS = 100;

/** Answers one line after waiting, as for a disk or another server; no processor is busy. */
export class WaitingHandler extends StreamRequestHandler {
  static readonly module = import.meta.url;

  override async handle(): Promise<void> {
    await this.rfile.readline();
    await sleep(WORK_MS);
    await this.wfile.write('done\n');
  }
}

/** Answers one line after computing the given number of rounds, which keeps a processor busy. */
export class ComputingHandler extends StreamRequestHandler {
  static readonly module = import.meta.url;

  override async handle(): Promise<void> {
    const line = await this.rfile.readline();
    compute(Number(line?.toString().split(' ')[1]));
    await this.wfile.write('done\n');
  }
}

function compute(rounds: number): void {
  pbkdf2Sync('password', 'salt', rounds, 32, 'sha256');
}

/**
 * The number of rounds this machine computes within `workMs`: the same work for every server, however busy the others
 * are.
 */
export function calibrate(): number {
  const sample = 20_000;
  const times = [0, 1, 2].map(() => {
    const begin = performance.now();
    compute(sample);
    return performance.now() - begin;
  });
  return Math.max(1, Math.round((sample * WORK_MS) / Math.min(...times)));
}

/** The chapter's experiment: one sender, one receiver, a few messages. */
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import { parseFraming } from '@sendall/framing';
import { openPair } from '../wire/pair.js';
import { watchSegments } from '../wire/segments.js';
import { Tap } from '../messages/tap.js';
import { Trace } from '../wire/trace.js';

/** The settings of an experiment. */
export interface ExperimentOptions {
  /** The messages, one send each. At most 64 of at most 4096 bytes. */
  messages: readonly (string | Uint8Array)[];
  /** Turns Nagle's algorithm off. @default false */
  noDelay?: boolean;
  /** Milliseconds between two sends. @default 0 (one right after the other) */
  delayMs?: number;
  /** Exchanges before the experiment, after which the peer's kernel delays its acknowledgements. @default 0 */
  warmUp?: number;
  /** The size each read asks for, the last one for all further reads. @default [1024] */
  readSizes?: readonly number[];
  /**
   * The framing with which the receiver finds messages, a spec of `parseFraming`. Without one, each read is a message.
   */
  framing?: string | undefined;
  /** Watches the segments too (with a capture or the kernel's counters). @default true */
  segments?: boolean;
  /** A detour through a proxy with faults: given the receiver's port, returns the port to connect to. */
  via?: (port: number) => Promise<number>;
}

/** The outcome of an experiment. */
export interface Experiment {
  readonly trace: Trace;
  /** Why the experiment stopped early: the framing failed, or the connection broke. */
  readonly error?: string;
}

/** Most milliseconds to wait for the sent bytes (a fault may withhold them). */
const LONGEST_WAIT_MS = 5000;

/**
 * Runs the experiment on a real TCP connection over loopback, until the receiver has seen the end of the stream.
 * @throws Error when the spec names no framing
 */
export async function experiment(options: ExperimentOptions): Promise<Experiment> {
  const { noDelay = false, delayMs = 0, warmUp = 0, readSizes = [1024], segments = true } = options;
  const sizes = [...Array.from({ length: warmUp }, () => 1), ...readSizes];
  await using pair = await openPair({ noDelay, readSizes: sizes, ...(options.via && { via: options.via }) });
  const { sender, receiver } = pair;
  const watch = segments ? await watchSegments(pair.port) : undefined;
  for (let exchange = 0; exchange < warmUp; exchange++) {
    sender.write('?');
    await receiver.recv();
    receiver.socket.write('!');
    await new Promise((resolve) => sender.once('data', resolve));
  }
  await watch?.mark(warmUp);

  const trace = new Trace();
  const tap = new Tap(options.framing ?? 'raw');
  const encoder = options.framing === undefined ? undefined : parseFraming(options.framing).encoder();
  let error: string | undefined;
  let expected = Infinity;
  let received = 0;
  let over = false;
  let allReceived: (() => void) | undefined;
  const reading = (async () => {
    for (let bytes = await receiver.recv(); bytes.length > 0; bytes = await receiver.recv()) {
      trace.read(bytes);
      received += bytes.length;
      if (!encoder) trace.message(bytes);
      const read = tap.read(bytes);
      for (const message of read.messages) trace.message(message.payload, message.payloadAt);
      error ??= read.error?.message;
      if (received >= expected) allReceived?.();
    }
  })()
    .catch((broken: NodeJS.ErrnoException) => {
      error ??= `the connection broke: ${broken.code ?? broken.message}`;
    })
    .finally(() => {
      over = true;
      allReceived?.();
    });
  let sent = 0;
  for (const [index, message] of options.messages.entries()) {
    if (index > 0 && delayMs > 0) {
      await sleep(delayMs);
      // Behind the loop's reading: this process may have stood still, and the receiver is a part of it.
      await turn();
    }
    const bytes = encoder ? encoder.encode(message) : Buffer.from(message);
    trace.write(bytes);
    sent += bytes.length;
    if (sender.destroyed) break; // a fault on the way has ended the connection
    sender.write(bytes); // connected and nothing pending: one system call
  }
  // Ending the stream would make Nagle's algorithm send pending bytes, so it waits until all have arrived.
  if (received < sent && !over) {
    expected = sent;
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([
      new Promise<void>((resolve) => (allReceived = resolve)),
      new Promise<void>((resolve) => (timer = setTimeout(resolve, LONGEST_WAIT_MS))),
    ]);
    clearTimeout(timer);
  }
  sender.end();
  await reading;
  if (watch) trace.segments = await watch.stop(trace);
  return { trace, ...(error !== undefined && { error }) };
}

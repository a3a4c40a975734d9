/** The program of the phenomenon `loss` that runs inside the network namespace. */

// The part of `loss` that runs inside a network namespace of its own: prints one line of JSON.
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { openDatagramPair } from '../wire/datagrams.js';
import { openPair } from '../wire/pair.js';
import { watchSegments } from '../wire/segments.js';
import { Tap } from '../messages/tap.js';
import { Trace } from '../wire/trace.js';
import { LOSS_PERCENT, TCP_MESSAGES, UDP_MESSAGES, type LossReport } from './loss-report.js';

const run = promisify(execFile);
const nft = (...words: string[]) => run('nft', words);

/** Says how far it is, a number a line. */
const arrived = (messages: number) => process.stderr.write(`${messages}\n`);

/** Randomly drops packets to and from a port, and counts them. */
async function drop(protocol: 'tcp' | 'udp', port: number): Promise<() => Promise<number>> {
  for (const end of ['dport', 'sport']) {
    const chance = `numgen random mod 100 < ${LOSS_PERCENT}`;
    await nft(
      'add',
      'rule',
      'inet',
      'lab',
      'input',
      protocol,
      end,
      String(port),
      ...chance.split(' '),
      'counter',
      'drop',
    );
  }
  return async () => {
    const { stdout } = await nft('list', 'table', 'inet', 'lab');
    const lines = stdout.split('\n').filter((line) => line.includes(`${protocol} `));
    return lines.reduce((sum, line) => sum + Number(/counter packets (\d+)/.exec(line)?.[1] ?? 0), 0);
  };
}

/** Segments that this namespace's kernel retransmitted (RFC 4022's tcpRetransSegs). */
async function retransmitted(): Promise<number> {
  const [names, values] = (await readFile('/proc/net/snmp', 'latin1'))
    .split('\n')
    .filter((line) => line.startsWith('Tcp:'));
  const index = names!.split(' ').indexOf('RetransSegs');
  return Number(values!.split(' ')[index]);
}

async function overTcp(): Promise<LossReport['tcp']> {
  await using pair = await openPair({ noDelay: true });
  const watch = await watchSegments(pair.port);
  const dropped = await drop('tcp', pair.port); // from here on: the connection itself was made without losses
  await watch.mark(0);
  const trace = new Trace();
  const tap = new Tap('lines');
  const reading = (async () => {
    for (let bytes = await pair.receiver.recv(); bytes.length > 0; bytes = await pair.receiver.recv()) {
      trace.read(bytes);
      for (const message of tap.read(bytes).messages) trace.message(message.payload, message.payloadAt);
      arrived(trace.messages.length);
    }
  })();
  for (let index = 1; index <= TCP_MESSAGES; index++) {
    const bytes = Buffer.from(`message ${String(index).padStart(3)}\n`);
    trace.write(bytes);
    pair.sender.write(bytes);
    await sleep(2);
  }
  pair.sender.end();
  await reading;
  const received = Buffer.concat(trace.reads.map((read) => read.bytes));
  trace.segments = await watch.stop(trace);
  const sent = Buffer.concat(trace.writes.map((write) => write.bytes));
  return { trace, dropped: await dropped(), retransmitted: await retransmitted(), whole: received.equals(sent) };
}

function messageNumber(bytes: Buffer): number {
  return Number(/\d+/.exec(bytes.toString())?.[0]);
}

async function overUdp(): Promise<LossReport['udp']> {
  await using pair = await openDatagramPair();
  const dropped = await drop('udp', pair.port);
  for (let index = 1; index <= UDP_MESSAGES; index++) {
    await pair.send(Buffer.from(`message ${String(index).padStart(3)}\n`));
    arrived(TCP_MESSAGES + index);
  }
  await pair.received(UDP_MESSAGES);
  const { trace } = pair;
  // Each stands where its message stood among those sent, so the gaps are the losses.
  for (const list of [trace.reads, trace.messages]) {
    const placed = list.map((span) => ({ ...span, offset: (messageNumber(span.bytes) - 1) * span.length }));
    list.splice(0, placed.length, ...placed);
  }
  return { trace, dropped: await dropped() };
}

await run('ip', ['link', 'set', 'lo', 'up']);
await nft('add', 'table', 'inet', 'lab');
await nft('add', 'chain', 'inet', 'lab', 'input', '{', 'type', 'filter', 'hook', 'input', 'priority', '0', ';', '}');
const report: LossReport = { tcp: await overTcp(), udp: await overUdp() };
process.stdout.write(`${JSON.stringify(report)}\n`);

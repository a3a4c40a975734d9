/** The phenomenon `concurrency`: many clients at once. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { availableParallelism } from 'node:os';
import { TCPServer, type ServerOptions } from '@sendall/socketserver';
import { text, type Text } from '../lang.js';
import { milliseconds, Trace } from '../wire/trace.js';
import { calibrate, ComputingHandler, WaitingHandler, WORK_MS } from './concurrency-handlers.js';
import type { Phenomenon, Request } from './phenomenon.js';

const CLIENTS = 6;
const WORKERS = 3;

interface Way {
  readonly name: string;
  /** Its name in tables, and with the number of its workers. */
  readonly kind: Text;
  readonly title: Text;
  readonly concurrency: NonNullable<ServerOptions['concurrency']>;
  /** Serves one request, then takes the next: Python's TCPServer. */
  readonly oneAtATime?: boolean;
}

const oneAtATime = text('one at a time', '一次一个');
const eventLoop = text('event loop', '事件循环');
const ways: readonly Way[] = [
  { name: 'one-at-a-time', kind: oneAtATime, title: oneAtATime, concurrency: 'inline', oneAtATime: true },
  { name: 'event-loop', kind: eventLoop, title: eventLoop, concurrency: 'inline' },
  {
    name: 'threads',
    kind: text('threads', '线程'),
    title: text(`${WORKERS} threads`, `${WORKERS} 个线程`),
    concurrency: { mode: 'threads', workers: WORKERS, balance: 'round-robin' },
  },
  {
    name: 'processes',
    kind: text('processes', '进程'),
    title: text(`${WORKERS} processes`, `${WORKERS} 个进程`),
    concurrency: { mode: 'processes', workers: WORKERS, balance: 'round-robin' },
  },
];

/**
 * Compares one client at a time with an event loop, threads and processes, for requests that wait and requests that
 * compute.
 */
export const concurrency: Phenomenon = {
  name: 'concurrency',
  title: text('Many clients at once', '多个客户端同时连接'),
  chapter: text(
    'The four classes work synchronously; ThreadingMixIn and ForkingMixIn make them serve clients at once.',
    '这 4 个类是同步进行处理的，另外通过 ForkingMixIn 和 ThreadingMixIn 类来支持异步。',
  ),
  async show({ onProgress }) {
    const rows: [Text, number, number][] = [];
    const question = `work ${calibrate()}\n`;
    const served: { way: Way; waiting: Served }[] = [];
    const kinds = {
      wait: text('clients that wait', '等待的请求'),
      compute: text('clients that compute', '计算的请求'),
    };
    const begin = (way: Way, kind: Text, done: number) =>
      onProgress?.({
        done,
        of: 2 * ways.length,
        what: text(`${way.title.en}, ${kind.en}`, `${way.title.zh}，${kind.zh}`),
      });
    for (const [index, way] of ways.entries()) {
      begin(way, kinds.wait, 2 * index);
      const waiting = await serveAll(way, WaitingHandler, question);
      begin(way, kinds.compute, 2 * index + 1);
      const computing = await serveAll(way, ComputingHandler, question);
      served.push({ way, waiting });
      rows.push([way.kind, waiting.totalMs, computing.totalMs]);
    }
    const [alone, loop, ...parallel] = rows as [(typeof rows)[0], (typeof rows)[0], ...typeof rows];
    const fastest = Math.min(...parallel.map((row) => row[2]));
    return {
      observations: served.map(({ way, waiting }) => ({
        name: way.name,
        title: text(
          `${way.title.en}: when each of ${CLIENTS} clients was answered`,
          `${way.title.zh}：${CLIENTS} 个客户端各自何时得到回答`,
        ),
        trace: waiting.trace,
        requests: waiting.requests,
      })),
      table: {
        columns: [
          text('server', '服务端'),
          text(`${CLIENTS} clients that wait ${WORK_MS} ms, ms`, `${CLIENTS} 个各等待 ${WORK_MS} 毫秒的请求（毫秒）`),
          text(
            `${CLIENTS} clients that compute ${WORK_MS} ms, ms`,
            `${CLIENTS} 个各计算 ${WORK_MS} 毫秒的请求（毫秒）`,
          ),
        ],
        rows,
      },
      plot: {
        title: text(
          `milliseconds until all ${CLIENTS} clients were answered`,
          `全部 ${CLIENTS} 个客户端得到回答所用的毫秒数`,
        ),
        unit: 'ms',
        bars: rows.flatMap(([kind, waiting, computing]) => [
          { label: text(`${kind.en}, waiting`, `${kind.zh}，等待`), value: waiting },
          { label: text(`${kind.en}, computing`, `${kind.zh}，计算`), value: computing },
        ]),
      },
      verdict: text(
        `${CLIENTS} clients that wait took ${alone[1]} ms one at a time and ${loop[1]} ms on one event loop`,
        `${CLIENTS} 个只等待的客户端，一次一个要 ${alone[1]} 毫秒，一个事件循环只要 ${loop[1]} 毫秒`,
      ),
      explanation: text(
        `${CLIENTS} requests that only wait took ${alone[1]} ms one at a time and ${loop[1]} ms on one event loop, without any thread: while one waits the others go on. ` +
          `Requests that compute took ${alone[2]} ms one at a time and ${loop[2]} ms on the loop, which has one processor to give them, and ${fastest} ms on threads or processes, as far as the ${availableParallelism()} cores of this machine and what else runs on them allow.`,
        `${CLIENTS} 个只等待的请求，一次一个要 ${alone[1]} 毫秒，一个事件循环只要 ${loop[1]} 毫秒，不用任何线程：一个在等，其他的继续。` +
          `要计算的请求，一次一个是 ${alone[2]} 毫秒，事件循环是 ${loop[2]} 毫秒，因为它只有一个处理器可用；用线程或进程是 ${fastest} 毫秒，取决于本机的 ${availableParallelism()} 个核和其他正在运行的程序。`,
      ),
    };
  },
};

interface Served {
  readonly totalMs: number;
  readonly trace: Trace;
  readonly requests: readonly Request[];
}

/** Starts a server, sends requests from all clients together, and records when each was answered. */
async function serveAll(way: Way, handler: typeof WaitingHandler, question: string): Promise<Served> {
  const server = new TCPServer({ host: '127.0.0.1', port: 0 }, handler, { concurrency: way.concurrency });
  await server.listen();
  const state = { stopped: false };
  const serving = way.oneAtATime
    ? (async () => {
        while (!state.stopped) await server.handleRequest(100);
      })()
    : server.serveForever();
  const { port } = server.serverAddress;
  await ask(port, question); // so that every way is warm
  const trace = new Trace();
  const requests = await Promise.all(Array.from({ length: CLIENTS }, () => ask(port, question, trace)));
  const totalMs = Math.round(performance.now() - trace.startedAt);
  state.stopped = true;
  await server.shutdown({ timeout: 1000 });
  await serving;
  await server.serverClose();
  return { totalMs, trace, requests };
}

async function ask(port: number, question: string, trace = new Trace()): Promise<Request> {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true });
  await once(socket, 'connect');
  const now = (): number => milliseconds(performance.now() - trace.startedAt);
  const fromMs = now();
  trace.write(Buffer.from(question));
  socket.write(question);
  for await (const chunk of socket) trace.read(chunk as Buffer);
  trace.message(Buffer.from('done'));
  return { fromMs, toMs: now() };
}

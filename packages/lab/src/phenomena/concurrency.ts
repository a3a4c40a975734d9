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
  readonly title: Text;
  readonly concurrency: NonNullable<ServerOptions['concurrency']>;
  /** Serves one request, then takes the next: Python's TCPServer. */
  readonly oneAtATime?: boolean;
}

const ways: readonly Way[] = [
  { name: 'one at a time', title: text('one at a time', '一次一个'), concurrency: 'inline', oneAtATime: true },
  { name: 'event loop', title: text('event loop', '事件循环'), concurrency: 'inline' },
  {
    name: 'threads',
    title: text(`${WORKERS} threads`, `${WORKERS} 个线程`),
    concurrency: { mode: 'threads', workers: WORKERS, balance: 'round-robin' },
  },
  {
    name: 'processes',
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
  async show() {
    const rows: (string | number)[][] = [];
    const question = `work ${calibrate()}\n`;
    const served: { way: Way; waiting: Served }[] = [];
    for (const way of ways) {
      const waiting = await serveAll(way, WaitingHandler, question);
      const computing = await serveAll(way, ComputingHandler, question);
      served.push({ way, waiting });
      rows.push([way.name, waiting.totalMs, computing.totalMs]);
    }
    const [alone, loop] = rows as [[string, number, number], [string, number, number]];
    const parallel = rows.slice(2) as [string, number, number][];
    const fastest = Math.min(...parallel.map((row) => row[2]));
    return {
      observations: served.map(({ way, waiting }) => ({
        name: way.name.replaceAll(' ', '-'),
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
        bars: rows.flatMap(([name, waiting, computing]) => [
          { label: `${name}, waiting`, value: Number(waiting) },
          { label: `${name}, computing`, value: Number(computing) },
        ]),
      },
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

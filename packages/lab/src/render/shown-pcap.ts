/** The runs of phenomena as a capture that other programs read: a connection for each observation. */
import { Conversation, datagramRecord } from '../capture/conversation.js';
import { pcapHeader } from '../capture/pcap-file.js';
import type { Observation, Shown } from '../phenomena/index.js';
import type { Trace } from '../wire/trace.js';

const HOST = '127.0.0.1';
const FIRST_CLIENT_PORT = 40_000;
const FIRST_SERVER_PORT = 7001;

type Direction = 'up' | 'down';

interface Event {
  readonly atMs: number;
  /** The records of its packets, made in the order of time. */
  readonly make: () => readonly Buffer[];
}

/** What the capture is, and whether all its segments were seen; otherwise each send stands for one. */
export interface ShownPcap {
  readonly bytes: Buffer;
  readonly segmentsSeen: boolean;
}

/** Times are those of the runs. The handshakes and ends are made up as TCP would have them. */
export function shownPcap(all: readonly Pick<Shown, 'observations'>[]): ShownPcap {
  const records: Buffer[] = [pcapHeader()];
  let segmentsSeen = true;
  let count = 0;
  for (const observation of all.flatMap(({ observations }) => observations)) {
    for (const events of connectionsOf(observation, () => ++count)) records.push(...inOrder(events));
    if (observation.transport !== 'udp' && observation.trace.segments?.source !== 'capture') segmentsSeen = false;
  }
  return { bytes: Buffer.concat(records), segmentsSeen };
}

function inOrder(events: readonly Event[]): Buffer[] {
  return events.toSorted((a, b) => a.atMs - b.atMs).flatMap(({ make }) => make());
}

/** The events of each connection of an observation. */
function connectionsOf({ trace, back, requests, transport }: Observation, next: () => number): Event[][] {
  const startMs = performance.timeOrigin + trace.startedAt;
  const ends = () => {
    const id = next();
    return [
      { address: HOST, port: FIRST_CLIENT_PORT + id },
      { address: HOST, port: FIRST_SERVER_PORT + (id % 1000) },
    ] as const;
  };
  if (transport === 'udp') {
    const [from, to] = ends();
    return [
      trace.writes.map(({ atMs, bytes }) => {
        const at = startMs + atMs;
        return { atMs: at, make: () => [datagramRecord(at, from, to, bytes)] };
      }),
    ];
  }
  if (requests) {
    // The k-th answer belongs to the request that was done as the k-th.
    const done = requests.toSorted((a, b) => a.toMs - b.toMs);
    return requests.map((request, i) => {
      const conversation = new Conversation(...ends());
      const answer = trace.reads[done.indexOf(request)];
      const write = trace.writes[i];
      return connection(conversation, startMs + request.fromMs, startMs + request.toMs, [
        ...(write ? [inTurn(conversation, 'up', startMs + write.atMs, write.bytes)] : []),
        ...(answer ? [inTurn(conversation, 'down', startMs + answer.atMs, answer.bytes)] : []),
      ]);
    });
  }
  const conversation = new Conversation(...ends());
  const direction = back ? 'down' : 'up';
  const events = [
    ...stream(conversation, direction, trace, startMs),
    ...(back ? stream(conversation, 'up', back, startMs) : []),
  ];
  const last = events.reduce((latest, { atMs }) => Math.max(latest, atMs), startMs);
  return [connection(conversation, startMs, last, events)];
}

/** The segments of one direction as they were seen; else a segment for each send. */
function stream(conversation: Conversation, direction: Direction, trace: Trace, startMs: number): Event[] {
  const { segments, writes } = trace;
  if (segments?.source !== 'capture') {
    return writes.map(({ atMs, bytes }) => inTurn(conversation, direction, startMs + atMs, bytes));
  }
  const back = direction === 'up' ? 'down' : 'up';
  return [
    ...segments.spans.map(({ atMs, offset, bytes }) => {
      const at = startMs + atMs;
      return { atMs: at, make: () => [conversation.segment(at, direction, offset, bytes)] };
    }),
    ...segments.acknowledgements.map(({ atMs, offset }) => {
      const at = startMs + atMs;
      return { atMs: at, make: () => [conversation.acknowledge(at, back, offset)] };
    }),
  ];
}

function inTurn(conversation: Conversation, direction: Direction, atMs: number, bytes: Buffer): Event {
  return { atMs, make: () => conversation.data(atMs, direction, bytes) };
}

/** A handshake at the beginning, and both ends at the end. */
function connection(conversation: Conversation, fromMs: number, toMs: number, events: readonly Event[]): Event[] {
  const first = events.reduce((earliest, { atMs }) => Math.min(earliest, atMs), fromMs);
  return [
    { atMs: first, make: () => conversation.open(first) },
    ...events,
    { atMs: toMs, make: () => [...conversation.end(toMs, 'up'), ...conversation.end(toMs, 'down')] },
  ];
}

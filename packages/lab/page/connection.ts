/** The page's WebSocket. A request has a number, which its answer repeats; every message is checked against the schema. */
import {
  ANSWERS,
  readLabMessage,
  type Answer,
  type Asked,
  type LabEvent,
  type LabMessage,
  type PageRequest,
  type Progress,
} from '../dist/page/protocol.js';

interface Waiting {
  resolve: (message: LabMessage) => void;
  progress: ((step: Progress) => void) | undefined;
  reject: (error: Error) => void;
}

/** Unanswered requests, by number. */
const waiting = new Map<number, Waiting>();
const listeners: ((event: LabEvent) => void)[] = [];
const states: ((open: boolean) => void)[] = [];
const troubles: ((what: string) => void)[] = [];

const address = new URL('socket', location.href);
address.protocol = 'ws:';
const socket = new WebSocket(address);
let lastId = 0;

const opened = new Promise<void>((resolve, reject) => {
  socket.addEventListener('open', () => resolve());
  socket.addEventListener('error', () => reject(new Error('the lab does not answer')));
});
opened.then(
  () => states.forEach((tell) => tell(true)),
  () => {},
);
socket.addEventListener('close', () => {
  for (const { reject } of waiting.values()) reject(new Error('the lab has ended'));
  waiting.clear();
  states.forEach((tell) => tell(false));
});
socket.addEventListener('message', (event: MessageEvent<string>) => {
  const reading = readLabMessage(event.data);
  if ('problem' in reading) misread(reading.id, reading.problem);
  else if ('id' in reading.message) answered(reading.message);
  else for (const listen of listeners) listen(reading.message);
});

function answered(message: Exclude<LabMessage, LabEvent>): void {
  const asked = waiting.get(message.id);
  if (message.type === 'progress') return asked?.progress?.(message);
  waiting.delete(message.id);
  if (message.type === 'error') {
    if (asked) asked.reject(new Error(message.message));
    else trouble(message.message);
  } else asked?.resolve(message);
}

/** Handles a message that violates the schema: only the request it answers fails. */
function misread(id: number, problem: string): void {
  const what = `the lab's message is not understood: ${problem}`;
  const asked = waiting.get(id);
  waiting.delete(id);
  if (asked) asked.reject(new Error(what));
  else trouble(what);
}

function trouble(what: string): void {
  for (const tell of troubles) tell(what);
}

/** Sends a request and resolves with its answer. `progress` hears how far it has come. */
export async function ask<K extends PageRequest['type']>(
  type: K,
  request: Asked<K>,
  progress?: (step: Progress) => void,
): Promise<Answer<K>> {
  await opened;
  lastId += 1;
  const id = lastId;
  const message = await new Promise<LabMessage>((resolve, reject) => {
    if (socket.readyState !== WebSocket.OPEN) reject(new Error('the lab has ended'));
    waiting.set(id, { resolve, reject, progress });
    socket.send(JSON.stringify({ type, id, ...request }));
  });
  if (message.type !== ANSWERS[type]) throw new Error(`the lab answered "${type}" with "${message.type}"`);
  return message as Answer<K>;
}

/** Subscribes to reports of the lab that answer no request. */
export function onEvent(listen: (event: LabEvent) => void): void {
  listeners.push(listen);
}

export function onState(tell: (open: boolean) => void): void {
  states.push(tell);
}

/** Subscribes to failures outside any request. */
export function onTrouble(tell: (what: string) => void): void {
  troubles.push(tell);
}

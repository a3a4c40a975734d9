// @ts-check
// The page's one WebSocket. Requests have a number, the answer carries it back.

/** @typedef {Record<string, any>} Message */

/** @type {Map<number, { resolve: (message: Message) => void, reject: (error: Error) => void }>} */
const waiting = new Map();
/** @type {((message: Message) => void)[]} */
const listeners = [];
/** @type {((open: boolean) => void)[]} */
const states = [];

const address = new URL('socket', location.href);
address.protocol = 'ws:';
const socket = new WebSocket(address);
let lastId = 0;

const opened = new Promise((resolve, reject) => {
  socket.addEventListener('open', () => resolve(undefined));
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
socket.addEventListener('message', (event) => {
  /** @type {Message} */
  const message = JSON.parse(event.data);
  const asked = waiting.get(message.id);
  if (asked === undefined) listeners.forEach((listen) => listen(message));
  else {
    waiting.delete(message.id);
    if (message.type === 'error') asked.reject(new Error(message.message));
    else asked.resolve(message);
  }
});

/**
 * @param {Message} request
 * @returns {Promise<Message>}
 */
export async function ask(request) {
  await opened;
  lastId += 1;
  const id = lastId;
  return new Promise((resolve, reject) => {
    if (socket.readyState !== WebSocket.OPEN) reject(new Error('the lab has ended'));
    waiting.set(id, { resolve, reject });
    socket.send(JSON.stringify({ ...request, id }));
  });
}

/** What comes without having been asked for. @param {(message: Message) => void} listen */
export function onEvent(listen) {
  listeners.push(listen);
}

/** @param {(open: boolean) => void} tell */
export function onState(tell) {
  states.push(tell);
}

/** `wirelab chat`: the chat server with its operator, and the chat client. */
import { createInterface } from 'node:readline';
import { parseFraming } from '@sendall/framing';
import { parseAddress } from '../../address.js';
import { joinChat } from '../../chat/client.js';
import { ChatServer, type ChatEvent } from '../../chat/server.js';
import { oneLine, printable } from '../../render/printable.js';
import { checked, UsageError, type Command } from '../command.js';
import { FRAMING_SPECS, SPECS } from '../framing-specs.js';
import { interrupted, print, say } from '../output.js';
import { codeOf, onceSignal } from '../signals.js';

export const command: Command = {
  name: 'chat',
  usage: ['serve [--port 6060] [--host 127.0.0.1] [--framing SPEC]', 'HOST:PORT [--framing SPEC]'],
  summary: 'the tutorial’s chat: many clients, one operator',
  about: [
    'The server shows each text with the name of its client; the operator types the answers:',
    '',
    '  text          answers the client that has waited longest (or all, if none is waiting)',
    '  @c2 text      answers c2         @all text    goes to all clients',
    '  /who          lists the clients  /quit        ends the chat',
    '',
    'Raw UTF-8 as in the tutorial: each read is a message. A client half-closes at the end of its stdin and waits for the',
    'texts that still come.',
  ],
  examples: ['wirelab chat serve --port 6060 --framing lines', 'wirelab chat 127.0.0.1:6060 --framing lines'],
  options: {
    port: { value: 'PORT', help: 'serve: default 6060' },
    host: { value: 'HOST', help: 'serve: default 127.0.0.1' },
    framing: {
      value: 'SPEC',
      help: `makes whole messages, on both sides: ${SPECS}`,
      complete: FRAMING_SPECS.filter((spec) => spec !== 'raw'),
    },
  },
  complete: ['serve'],
  async run(args) {
    const [target, ...rest] = args.words;
    if (target === undefined || rest.length > 0) throw new UsageError('chat takes "serve" or HOST:PORT');
    const framing = args.text('framing');
    if (framing !== undefined) checked(() => parseFraming(framing));
    if (target === 'serve') return serveChat(args.integer('port', 0, 65535), args.text('host'), framing);
    if (args.on('port') || args.on('host')) {
      throw new UsageError('--port and --host are for "chat serve": a client takes HOST:PORT');
    }
    return join(target, framing);
  },
};

async function serveChat(
  port: number | undefined,
  host: string | undefined,
  framing: string | undefined,
): Promise<number> {
  const server = await ChatServer.open({
    ...(port !== undefined && { port }),
    ...(host !== undefined && { host }),
    framing,
    onEvent: (event) => void print(describe(event)),
  });
  const stopped = interrupted();
  await print(`listening ${host ?? '127.0.0.1'}:${server.port}`);
  const operator = createInterface({ input: process.stdin });
  const quit = new Promise<number>((resolve) => {
    operator.on('line', (line) => {
      if (line.trim() === '/quit') resolve(0);
      else operate(server, line);
    });
  });
  operator.on('close', () => server.operatorLeft());
  const code = await Promise.race([stopped, quit]);
  operator.close();
  process.stdin.destroy();
  await server.close();
  return code;
}

function operate(server: ChatServer, line: string): void {
  const text = line.trim();
  if (text === '') return;
  if (text === '/who') {
    void print(server.names.length > 0 ? server.names.join(' ') : 'no client is here');
    return;
  }
  const [, name, addressed] = /^@(\S+)\s+([^]*)$/.exec(text) ?? [];
  if (name === 'all' || (name === undefined && server.next === undefined)) {
    const count = server.tellAll(addressed ?? text);
    say(count > 0 ? `to all (${count})` : 'no client is here: the text was not sent');
    return;
  }
  const to = name ?? server.next!;
  if (server.tell(to, addressed ?? text)) say(`to ${to}`);
  else say(`there is no client ${to}: the text was not sent (clients: ${server.names.join(' ') || 'none'})`);
}

function describe(event: ChatEvent): string {
  if (event.type === 'said') return `${event.name}: ${oneLine(event.text)}`;
  return `${event.name} ${event.type} (${event.address})`;
}

async function join(target: string, framing: string | undefined): Promise<number> {
  const chat = await joinChat(
    checked(() => parseAddress(target)),
    framing,
  );
  const lines = createInterface({ input: process.stdin });
  lines.on('line', (line) => {
    if (line.trim() !== '') chat.send(line.trim());
  });
  lines.on('close', () => chat.end());
  let code = 0;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    onceSignal(signal, () => {
      code = codeOf(signal);
      chat.close();
    });
  for await (const text of chat.texts) await print(printable(text.endsWith('\n') ? text.slice(0, -1) : text));
  lines.close();
  process.stdin.destroy();
  return code;
}

/** `wirelab call`: a client for one of the historical command servers. */
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { parseAddress } from '../../address.js';
import { ENCODINGS, textDecoder, type Encoding } from '../../encoding.js';
import { openCommandClient, UDP_TIMEOUT_MS, type CommandClient } from '../../historical/client.js';
import { QUIET_MS } from '../../historical/recv.js';
import { protocolNames } from '../../historical/server.js';
import { checked, oneOf, UsageError, type Command } from '../command.js';
import { say } from '../output.js';
import { codeOf } from '../signals.js';

const PROMPT = '>>: ';
const answerEncodings = ['auto', ...ENCODINGS] as const;

export const command: Command = {
  name: 'call',
  usage: [`${protocolNames.join('|')} HOST:PORT [--encoding auto|utf-8|gbk] [--timeout SECONDS] [COMMAND…]`],
  summary: 'the clients of these command servers',
  about: [
    "Sends commands to one of the tutorial's servers and prints the answers. Each COMMAND word is one command; without any",
    `they come from the lines of stdin, on a terminal at a "${PROMPT}" prompt. An empty line is not sent, "quit" leaves.`,
    '',
    `"recv" has no framing: an answer ends when the line has been quiet for ${QUIET_MS} ms, and later bytes belong to the`,
    'next answer.',
  ],
  examples: ["wirelab call struct-i 127.0.0.1:8080 'ls -l' date"],
  options: {
    encoding: {
      value: 'auto|utf-8|gbk',
      help: 'the encoding of answers; auto (the default) decides for each answer by its bytes',
      complete: answerEncodings,
    },
    timeout: { value: 'SECONDS', help: `udp: how long an answer is waited for, default ${UDP_TIMEOUT_MS / 1000}` },
  },
  complete: protocolNames,
  async run(args) {
    const [protocol, target, ...commands] = args.words;
    if (protocol === undefined || target === undefined) throw new UsageError('call takes a protocol and HOST:PORT');
    const name = oneOf('the protocol', protocol, protocolNames);
    const encoding = args.oneOf('encoding', answerEncodings) ?? 'auto';
    const timeout = (args.number('timeout', 0.001, 86_400) ?? UDP_TIMEOUT_MS / 1000) * 1000;
    const address = checked(() => parseAddress(target));
    const client = await openCommandClient(name, address, timeout);
    try {
      await converse(client, asked(commands.length > 0 ? commands : stdinLines(), commands.length), encoding);
    } finally {
      client.close();
      process.stdin.destroy(); // a terminal with unread lines would keep the program alive
    }
    return 0;
  },
};

/** Sends each command and prints its answer, starting each answer on a new line. */
async function converse(
  client: CommandClient,
  commands: AsyncIterable<Asked>,
  encoding: Encoding | 'auto',
): Promise<void> {
  const decoder = textDecoder(encoding);
  let atLineStart = true;
  const write = async (text: string) => {
    if (text === '') return;
    atLineStart = text.endsWith('\n');
    if (!process.stdout.write(text)) await once(process.stdout, 'drain');
  };
  for await (const { command, last } of commands) {
    if (!atLineStart) await write('\n');
    for await (const bytes of client.call(command, last)) await write(decoder.write(bytes));
    await write(decoder.end());
    if (process.stdin.isTTY && !atLineStart) await write('\n');
  }
}

interface Asked {
  readonly command: string;
  readonly last: boolean;
}

/** Non-empty commands until `quit` or the end. Only with a known number of commands is the last one known. */
async function* asked(commands: Iterable<string> | AsyncIterable<string>, count: number): AsyncGenerator<Asked> {
  let index = 0;
  for await (const command of commands) {
    index++;
    if (command.trim() === 'quit') return;
    if (command.trim() !== '') yield { command, last: index === count };
  }
}

async function* stdinLines(): AsyncGenerator<string> {
  if (!process.stdin.isTTY) {
    for await (const line of createInterface({ input: process.stdin })) yield line.trim();
    return;
  }
  const terminal = createInterface({ input: process.stdin, output: process.stdout, prompt: PROMPT });
  // At the prompt Ctrl-C leaves; an answer it interrupts is no success.
  let asking = true;
  terminal.on('SIGINT', () => {
    terminal.close();
    if (!asking) process.exit(codeOf('SIGINT'));
  });
  try {
    terminal.prompt();
    for await (const line of terminal) {
      asking = false;
      yield line.trim();
      asking = true;
      terminal.prompt();
    }
  } finally {
    terminal.close();
    say('');
  }
}

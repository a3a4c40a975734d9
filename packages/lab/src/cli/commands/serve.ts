/** `wirelab serve`: one of the historical command servers. */
import { ENCODINGS } from '../../encoding.js';
import { protocolNames, serveCommands, type CommandEvent } from '../../historical/server.js';
import { oneLine } from '../../render/printable.js';
import { oneOf, UsageError, type Command } from '../command.js';
import { interrupted, print, say } from '../output.js';

export const command: Command = {
  name: 'serve',
  usage: [`${protocolNames.join('|')} [--port 0] [--encoding utf-8|gbk]`],
  summary: 'the tutorial’s command servers, byte-compatible, on loopback only',
  about: [
    "Runs the commands that clients send, as the tutorial's servers do. It listens on 127.0.0.1, always, and serves",
    'processes of the same user only; it runs nothing that a browser can send. Prints "listening 127.0.0.1:PORT".',
  ],
  examples: ['wirelab serve length-ready --port 8080'],
  options: {
    port: { value: 'PORT', help: 'default 0: a free port' },
    encoding: {
      value: 'utf-8|gbk',
      help: 'the encoding of answers; default: output as it is, and 执行成功 (for no output) in GBK',
      complete: ENCODINGS,
    },
  },
  complete: protocolNames,
  async run(args) {
    const [protocol, ...rest] = args.words;
    if (protocol === undefined || rest.length > 0)
      throw new UsageError(`serve takes one of ${protocolNames.join(', ')}`);
    const server = await serveCommands({
      protocol: oneOf('the protocol', protocol, protocolNames),
      port: args.integer('port', 0, 65535) ?? 0,
      encoding: args.oneOf('encoding', ENCODINGS),
      onEvent: (event) => say(describe(event)),
    });
    const stopped = interrupted();
    say('warning: any process of this user can run commands through this port, without authentication');
    await print(`listening 127.0.0.1:${server.port}`);
    const code = await stopped;
    await server.close();
    return code;
  },
};

function describe(event: CommandEvent): string {
  switch (event.type) {
    case 'open':
      return `${event.client} came`;
    case 'close':
      return `${event.client} left`;
    case 'command':
      return `${event.client} runs: ${oneLine(event.command)}`;
    default:
      return `${event.client} refused: ${event.reason}`;
  }
}

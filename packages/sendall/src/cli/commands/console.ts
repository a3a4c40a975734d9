/** `sendall console`: hosts, runs and terminals in a browser on this machine. */
import { isatty } from 'node:tty';
import { UsageError } from '../../errors.js';
import { reachOptions, wishesOf } from '../hosts/reach.js';
import { onSignal } from '../leaving/signals.js';
import { answer, json, say } from '../show/print.js';
import { ownVersion } from '../version.js';
import type { Command } from '../words/command.js';

const { identity, via, 'connect-timeout': patience } = reachOptions;

export const consoleCommand: Command = {
  name: 'console',
  usage: '[OPTIONS]',
  summary: 'hosts, runs and terminals in a browser on this machine',
  examples: ['sendall console', 'sendall console --listen 127.0.0.1:8080 --no-open', 'sendall console --read-only'],
  options: {
    listen: {
      value: 'HOST:PORT',
      help: 'an address of this machine alone (default 127.0.0.1:7434); port 0: a free one',
    },
    'read-only': { help: 'refuse whatever starts, changes or ends something' },
    'no-open': { help: 'open no browser' },
    json: { help: 'one JSON object a line on stdout; opens no browser' },
    identity: identity!,
    via: via!,
    'connect-timeout': patience!,
  },
  async run(args) {
    if (args.words.length || args.rest) throw new UsageError('console takes options only');
    const { openConsole, openInBrowser, parseListen, PORT } = await import('../../console/server.js');
    const running = await openConsole({
      listen: parseListen(args.text('listen') ?? `127.0.0.1:${PORT}`),
      readOnly: args.on('read-only'),
      connect: wishesOf(args),
      version: ownVersion(),
      lang: languageOf(process.env),
    });
    const ended = askedToEnd();
    if (args.on('json')) json({ event: 'listening', url: running.url, token: running.token });
    else {
      answer(`console: ${running.url}`);
      say('this link is a key: it acts as you; it ends with Ctrl-C');
    }
    const isQuiet = args.on('no-open') || args.on('json');
    using _opened = isQuiet ? undefined : openInBrowser(() => running.newLink());
    await ended;
    await running.close();
    return 0;
  },
};

/** The language of this user's messages. */
function languageOf({ LC_ALL, LC_MESSAGES, LANG }: NodeJS.ProcessEnv): string | undefined {
  return (LC_ALL || LC_MESSAGES || LANG || '').startsWith('zh') ? 'zh' : undefined;
}

async function askedToEnd(): Promise<void> {
  await new Promise<void>((resolve) => {
    onSignal('SIGINT', resolve);
    onSignal('SIGTERM', resolve);
    // Without a terminal, a hang-up is not meant for us.
    onSignal('SIGHUP', isatty(2) ? resolve : () => undefined);
  });
}

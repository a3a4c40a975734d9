/** `wirelab page`: serves the lab's page. */
import { servePage } from '../../page/server.js';
import { UsageError, type Command } from '../command.js';
import { langOption, language } from '../language.js';
import { interrupted, print, say } from '../output.js';

export const command: Command = {
  name: 'page',
  usage: ['[--port 0] [--lang en|zh]'],
  summary: 'all of this in a browser, over real sockets on this machine',
  about: [
    'Serves a page with live controls: the phenomena, a workbench, inspect and chaos. Prints "listening URL"; the URL holds',
    'a token of this start, and requests without it get no answer. It listens on 127.0.0.1 only.',
  ],
  examples: ['wirelab page --lang zh'],
  options: {
    port: { value: 'PORT', help: 'default 0: a free port' },
    lang: langOption,
  },
  async run(args) {
    if (args.words.length > 0) throw new UsageError(`page takes options only, not "${args.words[0]}"`);
    const lang = language(args);
    const page = await servePage({ port: args.integer('port', 0, 65535) ?? 0, lang });
    const stopped = interrupted();
    await print(`listening ${page.url}`);
    say('open this address in a browser on this machine; Ctrl-C ends it');
    const code = await stopped;
    await page.close();
    return code;
  },
};

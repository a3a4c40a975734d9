import { servePage } from '../../page/server.js';
import { integer, parse, type Command } from '../command.js';
import { language } from '../language.js';
import { interrupted, print, say } from '../output.js';

export const command: Command = {
  summary: 'the same in a browser, over real sockets on this side',
  help: `wirelab page [--port 0] [--lang en|zh]

Serves a page with live controls: the phenomena, a workbench, inspect and chaos. Prints "listening URL"; the URL holds a
token of this start, without which nothing is answered. It listens on 127.0.0.1 only.

example: wirelab page --lang zh`,
  async run(words) {
    const { values } = parse({ args: words, options: { port: { type: 'string' }, lang: { type: 'string' } } });
    const lang = language(values.lang);
    const page = await servePage({ port: integer('port', values.port, 0, 65535) ?? 0, lang });
    const stopped = interrupted();
    await print(`listening ${page.url}`);
    say('open this address in a browser on this machine; Ctrl-C ends it');
    const code = await stopped;
    await page.close();
    return code;
  },
};

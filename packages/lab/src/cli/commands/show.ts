/** `wirelab show`: runs the phenomena and prints what they showed. */
import { phenomena } from '../../phenomena/index.js';
import { renderShown } from '../../render/shown.js';
import { shownJson } from '../../render/shown-json.js';
import { oneOf, type Command } from '../command.js';
import { langOption, language } from '../language.js';
import { print } from '../output.js';

const names = phenomena.map((phenomenon) => phenomenon.name);

export const command: Command = {
  name: 'show',
  usage: [`[${names.join('|')}] [--json] [--lang en|zh]`],
  summary: 'the tutorial’s phenomena and cures, measured on real sockets',
  about: [
    'Runs the experiments of the chapter on real sockets and prints what happened: a timeline of writes, segments, reads and',
    'messages, and what it means. Without a name it runs all of them.',
    '',
    'Segments are real ones where tcpdump may capture on loopback, else the kernel\'s count (ss). "loss" needs a network',
    'namespace (unshare) and nftables (nft) and says so where these are missing.',
  ],
  examples: ['wirelab show sticky --lang zh'],
  options: {
    json: { help: 'one object for each phenomenon, one a line' },
    lang: langOption,
  },
  complete: names,
  async run(args) {
    const lang = language(args);
    const asked = args.words.map((word) => oneOf('the phenomenon', word, names));
    const chosen = phenomena.filter((phenomenon) => asked.length === 0 || asked.includes(phenomenon.name));
    for (const [index, phenomenon] of chosen.entries()) {
      const shown = await phenomenon.show({});
      if (args.on('json')) await print(JSON.stringify(shownJson(phenomenon, shown, lang)));
      else await print(...(index > 0 ? [''] : []), ...renderShown(phenomenon, shown, lang));
    }
    return 0;
  },
};

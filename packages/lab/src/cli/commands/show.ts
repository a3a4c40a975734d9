import { phenomena } from '../../phenomena/index.js';
import { renderShown } from '../../render/shown.js';
import { shownJson } from '../../shown-json.js';
import { parse, UsageError, type Command } from '../command.js';
import { language } from '../language.js';
import { print } from '../output.js';

const names = phenomena.map((phenomenon) => phenomenon.name);

export const command: Command = {
  summary: 'the tutorial’s phenomena and cures, measured on real sockets',
  help: `wirelab show [${names.join('|')}] [--json] [--lang en|zh]

Runs the experiments of the chapter on real sockets and prints what happened: a timeline of writes, segments, reads and
messages, and what it means. Without a name it runs all of them.

  --json      one object for each phenomenon, one a line
  --lang      en or zh; default: what the locale says

Segments are real ones where tcpdump may capture on loopback, else the kernel's count (ss). "loss" needs a network
namespace (unshare) and nftables (nft); where these are not to be had it says so.

example: wirelab show sticky --lang zh`,
  async run(words) {
    const { values, positionals } = parse({
      args: words,
      allowPositionals: true,
      options: { json: { type: 'boolean' }, lang: { type: 'string' } },
    });
    const lang = language(values.lang);
    const unknown = positionals.find((name) => !names.includes(name));
    if (unknown !== undefined)
      throw new UsageError(`there is no phenomenon "${unknown}": there are ${names.join(', ')}`);
    const chosen = phenomena.filter((phenomenon) => positionals.length === 0 || positionals.includes(phenomenon.name));
    for (const [index, phenomenon] of chosen.entries()) {
      const shown = await phenomenon.show({});
      if (values.json) await print(JSON.stringify(shownJson(phenomenon, shown, lang)));
      else await print(...(index > 0 ? [''] : []), ...renderShown(phenomenon, shown, lang));
    }
    return 0;
  },
};

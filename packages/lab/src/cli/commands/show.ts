/** `wirelab show`: runs the phenomena and prints what they showed. */
import { writeFile } from 'node:fs/promises';
import { phenomena, type Shown } from '../../phenomena/index.js';
import { renderShown } from '../../render/shown.js';
import { shownJson } from '../../render/shown-json.js';
import { shownPcap } from '../../render/shown-pcap.js';
import { oneOf, type Command } from '../command.js';
import { langOption, language } from '../language.js';
import { print, say } from '../output.js';

const names = phenomena.map((phenomenon) => phenomenon.name);

export const command: Command = {
  name: 'show',
  usage: [`[${names.join('|')}] [--json] [--lang en|zh] [--export FILE]`],
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
    export: {
      value: 'FILE',
      help: 'the runs as a capture for tcpdump and Wireshark, a connection for each: real segments where they were seen',
      complete: 'file',
    },
  },
  complete: names,
  async run(args) {
    const lang = language(args);
    const asked = args.words.map((word) => oneOf('the phenomenon', word, names));
    const chosen = phenomena.filter((phenomenon) => asked.length === 0 || asked.includes(phenomenon.name));
    const all: Shown[] = [];
    for (const [index, phenomenon] of chosen.entries()) {
      const shown = await phenomenon.show({});
      all.push(shown);
      if (args.on('json')) await print(JSON.stringify(shownJson(phenomenon, shown, lang)));
      else await print(...(index > 0 ? [''] : []), ...renderShown(phenomenon, shown, lang));
    }
    const file = args.text('export');
    if (file !== undefined) {
      const { bytes, segmentsSeen } = shownPcap(all);
      await writeFile(file, bytes, { mode: 0o600 });
      if (!segmentsSeen) say('wirelab: not all segments were seen: where they were not, each send stands for one');
    }
    return 0;
  },
};

/** The commands that bring files to hosts and get files from them. */
import { UsageError } from '../../errors.js';
import type { TransferOptions } from '../../index.js';
import { reachOptions } from '../hosts/reach.js';
import type { Errand } from '../runs/transfers.js';
import { textOf, under, type Arguments, type Command } from '../words/command.js';
import { localPath, placeOf } from '../words/places.js';
import { rolloutOptions } from '../words/rollout-options.js';
import { contentOfStdin } from '../words/stdin.js';
import { isOneTarget } from '../words/targets.js';
import { parseDuration } from '../words/units.js';

const SLASH = 0x2f;

const transferOptions = {
  ...under('The files', {
    checksum: { help: 'decide by hashes, not by size and time, which files are the same' },
    exclude: { value: 'GLOB', help: 'leave out what matches: *.log, build/**; may be given more than once' },
    delete: { help: 'remove from destination folders what the source’s folders do not have' },
    mode: { value: 'MODE', help: 'give every file this mode, such as 640 (default: its own)' },
    'no-resume': { help: 'send files whole, even if an earlier transfer brought a part' },
    'no-atomic': { help: 'write into the file that is there, instead of replacing it by a complete one' },
    fsync: {
      value: 'end|each|none',
      help: 'write through to the disk: at the end (default), each file before it takes its name, or not',
      complete: ['end', 'each', 'none'],
    },
    'dry-run': { help: 'print what would be done, and change nothing' },
    as: { value: 'USER', help: 'as this user of the host' },
  }),
  ...under('Its output', {
    json: { help: 'one JSON object a line on stdout' },
    verbose: { short: 'v', help: 'print each file on stdout' },
    quiet: { short: 'q', help: 'print no messages of our own' },
  }),
  ...under('The run', {
    name: { value: 'NAME', help: 'a name to find the run by' },
    retry: { value: 'N', help: 'further runs when one is lost; each goes on where the files are (default 2)' },
    deadline: { value: 'TIME', help: 'have the result by this time from now, or from each host’s turn' },
  }),
  ...under('The link', {
    'give-up-after': { value: 'TIME', help: 'time without a link until the run counts as lost (default 10m)' },
    ...reachOptions,
  }),
};

const { only, batch, canary, pause, order } = rolloutOptions;
const manyHosts = under('Many hosts', {
  only: only!,
  window: { value: 'N', help: 'this many at a time (default 16)' },
  batch: batch!,
  canary: canary!,
  'max-fail': rolloutOptions['max-fail']!,
  pause: pause!,
  order: order!,
});

export const push: Command = {
  name: 'push',
  usage: '[OPTIONS] SOURCE… TARGETS:DESTINATION',
  summary: 'bring files and folders to one host or to many: complete or not at all, and resumed where it stopped',
  examples: [
    'sendall push app.tar web1:/srv/',
    "sendall push site/ 'web[01-20]:/var/www/' --delete --exclude '*.map'",
    'sendall push - web1:/etc/motd --mode 644 < motd',
    'sendall push --dry-run config web1:/etc/app',
  ],
  options: { ...transferOptions, ...manyHosts },
  complete: 'place',
  async run(args) {
    const words = wordsOf(args);
    const last = words.pop();
    const place = last && placeOf(last);
    if (!last || !words.length)
      throw new UsageError('push takes files and where they go: sendall push app.tar web1:/srv/');
    if (!place) throw new UsageError(`"${textOf(last)}" names no host: sendall push … web1:${textOf(last)}`);
    const isStream = words.some(isDash);
    if (isStream && words.length > 1) throw new UsageError('"-" is our stdin, the content of one file: give it alone');
    if (isStream && place.path.at(-1) === SLASH)
      throw new UsageError('what comes from stdin has no name: name the file, as in web1:/etc/motd');
    return await start(args, {
      direction: 'push',
      ...place,
      sources: isStream ? contentOfStdin() : words.map((word) => localPath(word, 'a source')),
      destination: place.path,
      toStdout: false,
      only: words.length === 1 ? textOf(isStream ? place.path : words[0]!) : undefined,
    });
  },
};

export const pull: Command = {
  name: 'pull',
  usage: '[OPTIONS] TARGETS:SOURCE… DESTINATION',
  summary: 'get files and folders from one host or from many: complete or not at all, and resumed where it stopped',
  examples: [
    'sendall pull web1:/var/log/app .',
    "sendall pull 'web[01-20]:/etc/hostname' 'names/{host}'",
    'sendall pull web1:/var/log/syslog - | tail',
  ],
  options: { ...transferOptions, ...manyHosts },
  complete: 'place',
  async run(args) {
    const words = wordsOf(args);
    const last = words.pop();
    if (!last || !words.length)
      throw new UsageError('pull takes files and where they go: sendall pull web1:/var/log/app .');
    const places = words.map((word) => {
      const place = placeOf(word);
      if (!place) throw new UsageError(`"${textOf(word)}" names no host: sendall pull web1:${textOf(word)} …`);
      return place;
    });
    const { targets } = places[0]!;
    // A colon alone means the same hosts, as for rsync.
    const other = places.find((place) => place.targets !== targets && place.targets !== '');
    if (other) throw new UsageError(`pull takes one word of targets, and "${other.targets}" is another`);
    const toStdout = isDash(last);
    if (toStdout && (args.on('json') || args.on('verbose') || args.on('dry-run')))
      throw new UsageError('stdout is the file’s content: leave out --json, --verbose and --dry-run');
    if (toStdout && !isOneTarget(targets)) throw new UsageError('many hosts cannot share stdout: name a folder');
    if (toStdout && places.length > 1) throw new UsageError('stdout takes the content of one file: name one');
    return await start(args, {
      direction: 'pull',
      targets,
      sources: places.map(({ path }) => path),
      destination: toStdout ? last : localPath(last, 'the destination'),
      toStdout,
      only: places.length === 1 ? textOf(places[0]!.path) : undefined,
    });
  },
};

const isDash = (word: Uint8Array) => word.length === 1 && word[0] === 0x2d;

/** All words; those behind "--" may begin with a dash. */
const wordsOf = (args: Arguments): Uint8Array[] => [...args.wordBytes, ...(args.rest ?? [])];

async function start(args: Arguments, errand: Omit<Errand, 'options'>): Promise<number> {
  const { targets } = errand;
  if (!targets) throw new UsageError('there is no host before the colon: web1:/srv/');
  const whole = { ...errand, options: optionsOf(args) };
  const { transferWithMany, transferWithOne } = await import('../runs/transfers.js');
  const isOne = isOneTarget(targets) && !args.on('only');
  return isOne ? await transferWithOne(args, whole) : await transferWithMany(args, whole);
}

function optionsOf(args: Arguments): TransferOptions {
  const duration = (name: string) => {
    const text = args.text(name);
    return text === undefined ? undefined : parseDuration(text, `--${name}`);
  };
  return {
    reject: false,
    checksum: args.on('checksum'),
    delete: args.on('delete'),
    exclude: args.texts('exclude'),
    mode: modeOf(args.text('mode')),
    resume: !args.on('no-resume'),
    atomic: !args.on('no-atomic'),
    // The parser allows only its values.
    fsync: args.text('fsync') as TransferOptions['fsync'],
    dryRun: args.on('dry-run'),
    runAs: args.text('as'),
    name: args.text('name'),
    retry: retryOf(args.text('retry')),
    deadline: duration('deadline'),
    giveUpAfter: duration('give-up-after'),
  } as TransferOptions;
}

function modeOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^0?[0-7]{3}$/.test(text)) return Number.parseInt(text, 8);
  throw new UsageError(`--mode: "${text}" is not a mode such as 640: three digits from 0 to 7`);
}

function retryOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new UsageError(`--retry: "${text}" is not a number of runs`);
}

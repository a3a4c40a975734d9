/** Compares the outputs of the hosts of a run. */
import { fleet } from '../../index.js';
import type { Command } from '../words/command.js';
import { findOptions, findPlaces, oneWord } from '../hosts/find-run.js';
import { say } from '../show/print.js';
import { printDiff } from '../show/print-groups.js';
import { reachOptions, shareOf } from '../hosts/reach.js';
import { finish, standardSinks } from '../show/sink.js';

export const diff: Command = {
  name: 'diff',
  usage: '[OPTIONS] RUN',
  summary: 'show what most hosts of a run wrote and how the others differ; exits with 1 when some do',
  examples: ["sendall run 'web[01,03]' --name kernel -- uname -r && sendall diff kernel"],
  options: {
    ...findOptions,
    encoding: { value: 'LABEL', help: 'convert its output from this encoding (gbk, big5, …) to UTF-8' },
    ...reachOptions,
  },
  complete: 'run',
  async run(args) {
    const places = await findPlaces(oneWord(args, 'diff'), args);
    const joined = fleet(
      places.map(({ target }) => target),
      shareOf(args),
    );
    const groups = await joined.attach(places, { mode: 'observe', reject: false }).gather();
    const sinks = standardSinks();
    await printDiff(groups, sinks, args.text('encoding'));
    await finish(sinks);
    const unclear = groups.filter(({ outcome }) => !['ok', 'failed', 'signalled'].includes(outcome));
    for (const { hosts, reason } of unclear) say(`sendall: ${hosts.toString()}: ${reason}`);
    return groups.length > 1 || unclear.length ? 1 : 0;
  },
};

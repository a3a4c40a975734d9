/** Compares the outputs of the hosts of a run. */
import { fleet, NodeSet, type Result } from '../../index.js';
import { Gatherer, type PastRun } from '../../internal.js';
import type { Command } from '../words/command.js';
import { findOptions, findRun, oneWord } from '../hosts/find-run.js';
import { joinRecording } from '../hosts/history.js';
import { say } from '../show/print.js';
import { printDiff } from '../show/fleet/print-groups.js';
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
    const { places, hosts, run } = await findRun(oneWord(args, 'diff'), args);
    const gatherer = new Gatherer();
    const bare: string[] = [];
    const known = new Set(run ? hosts.filter((host) => run.isKept(host)) : []);
    for (const host of known) gatherer.add(run!.resultOn(host)!);
    const asked = places.filter(({ target }) => !known.has(target));
    if (asked.length) {
      const joined = fleet(
        asked.map(({ target }) => target),
        shareOf(args),
      );
      const recording = joinRecording(args, run);
      const results = joined.attach(asked, { mode: 'observe', reject: false, gather: true }).results();
      for await (const result of recording?.watch(results) ?? results) {
        const past = digestFor(result, run);
        if (past) bare.push(result.host);
        gatherer.add(past ?? result);
      }
      await recording?.close();
    }
    const groups = gatherer.groups();
    const sinks = standardSinks();
    await printDiff(groups, sinks, args.text('encoding'));
    await finish(sinks);
    if (bare.length)
      say(
        `sendall: ${new NodeSet(bare).toString()}: compared by digests, as neither the hosts nor the history have the output`,
      );
    const unclear = groups.filter(({ outcome }) => !['ok', 'failed', 'signalled'].includes(outcome));
    for (const { hosts, reason } of unclear) say(`sendall: ${hosts.toString()}: ${reason}`);
    return groups.length > 1 || unclear.length ? 1 : 0;
  },
};

/** For a host that cannot give its output any more: its end in the history, with the digests of its output. */
function digestFor({ host, outcome }: Result, run: PastRun | undefined): Result | undefined {
  if (!['unreachable', 'refused', 'lost'].includes(outcome)) return undefined;
  const past = run?.resultOn(host, { digests: true });
  return past && past.outcome !== 'lost' && !run?.isBare(host) ? past : undefined;
}

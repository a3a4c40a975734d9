/** Answers about hosts: the list, what a set means, and what a run would do on it. */
import { NodeSet } from '../../index.js';
import { checkedAnswer, HostWords, OWNER } from '../../internal.js';
import { aimAt, fleetOf, isOneHost } from '../aim.js';
import { planOn, specOf, type Command } from '../command.js';
import { hostsOf, type Context } from '../context.js';
import { failureOf } from '../failures.js';
import type { Value } from '../messages.js';
import type { Answer } from './answer.js';

type Judged = Value<'explain'>['policy'][number];

export const hosts: Answer<'hosts'> = async (_asked, context) => listHosts(context);

/** All hosts that this user can name, this machine first. While a file is wrong: those of the others, and the problem. */
export function listHosts(context: Context): Value<'hosts'> {
  const all = hostsOf(context);
  const { home } = context;
  const local = { name: 'local', url: `unix:${home.agentSocket}`, tags: {}, from: [] };
  const rowsOf = (source: Pick<typeof all, 'list'>) =>
    source.list().map(({ name, url, pin, tags, from, addedAt }) => ({ name, url, pin, tags, from, addedAt }));
  try {
    return { hosts: [local, ...rowsOf(all)], words: ['all', ...new HostWords(all).groups()] };
  } catch (error) {
    let rows: ReturnType<typeof rowsOf> = [];
    try {
      rows = rowsOf(all.lastKnown);
    } catch {
      // hosts.json itself is wrong.
    }
    return { hosts: [local, ...rows], words: ['all'], problem: failureOf(error).message };
  }
}

export const resolve: Answer<'resolve'> = async (asked, context) => {
  const names = aimAt(asked, context);
  const { set } = fleetOf(names, context);
  return { count: names.length, folded: set.toString(), names };
};

export const explain: Answer<'explain'> = async (asked, context) => {
  const names = aimAt(asked, context);
  const hosts = fleetOf(names, context);
  const { options = {} } = asked;
  // Its plan is the same for a single host, whose terminal or open stdin a set could not have.
  const { pty: _pty, stdin: _stdin, ...forMany } = options;
  const isShell = asked.loginShell === true;
  const command: Command = isShell ? { script: 'login shell' } : { argv: asked.argv, script: asked.script };
  const { plan } = planOn(hosts, { ...command, options: forMany }, undefined);
  const { batches, canary, window, maxFail } = plan;
  const spec = specOf(asked, isOneHost(asked.targets) && asked.only === undefined);
  const judged = names.slice(0, asked.policy ?? 0).map(async (name) => await judgedBy(name, spec, context));
  return {
    count: names.length,
    folded: hosts.set.toString(),
    batches: batches.map((batch) => ({ hosts: new NodeSet(batch).toString(), size: batch.length })),
    canary,
    window,
    maxFail,
    policy: await Promise.all(judged),
  };
};

/** Whether the host lets this user run anything, or what its rules say to this run. */
async function judgedBy(name: string, spec: Uint8Array, { links }: Context): Promise<Judged> {
  const silent = { host: name, roles: [] };
  try {
    return await links.ask(name, async (host) => {
      await host.ready;
      const { principal, roles } = host.info;
      const known = { ...silent, principal, roles: [...roles] };
      if (roles.includes(OWNER))
        return { ...known, may: 'all', sentence: `${principal} is an owner of ${name}: no rule is asked` };
      const question = { spec: Buffer.from(spec).toString('base64') };
      const { decision, sentence, rule } = checkedAnswer(await host.ask('policy-test', question));
      return { ...known, may: decision, sentence, rule: rule ?? undefined };
    });
  } catch (error) {
    return { ...silent, may: 'unknown', sentence: failureOf(error).message };
  }
}

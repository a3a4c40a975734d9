/** The rules of this machine and of hosts, and what a host's agent would decide. */
import type { RuleText } from '../../index.js';
import {
  checkedAnswer,
  gatherRules,
  lintPolicy,
  PolicyError,
  readPolicyFile,
  ruleText,
  VERBS,
  type RulesPart,
} from '../../internal.js';
import type { Context } from '../context.js';
import type { Value } from '../messages.js';
import type { Answer } from './answer.js';

export const policy: Answer<'policy'> = async ({ host }, context) =>
  host === undefined || host === 'local' ? own(context) : await toldBy(host, context);

function own({ home }: Context): Value<'policy'> {
  const { policyFile: file } = home;
  const nothing = { file, rules: [], problems: [], findings: [], verbs: [...VERBS] };
  try {
    const { policy: found } = readPolicyFile(file);
    if (!found) return nothing;
    const findings = lintPolicy(found).map(({ rule, line, kind, what }) => ({ rule, line, kind, what }));
    return { ...nothing, sha256: found.sha256, rules: found.rules.map(ruleText).map(shown), findings };
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    return { ...nothing, problems: error.problems.map(({ line, what }) => ({ line, what })) };
  }
}

/** What lint looks at besides the rules is on the host itself. */
async function toldBy(name: string, { links }: Context): Promise<Value<'policy'>> {
  const { file, sha256, problem, rules } = await links.ask(name, (host) =>
    gatherRules((from) => host.ask<RulesPart>('policy-rules', { from })),
  );
  const problems = problem === null ? [] : [{ line: 0, what: problem }];
  return { file, sha256: sha256 ?? undefined, rules: rules.map(shown), problems, findings: [], verbs: [...VERBS] };
}

const shown = ({ id, line, who, verbs, runAs, command, trustsProgram }: RuleText) => ({
  id,
  line,
  who: [...who],
  verbs: [...verbs],
  runAs: runAs ?? undefined,
  command: command ?? undefined,
  trustsProgram,
});

export const policyTest: Answer<'policyTest'> = async ({ host: name, user, verb, ...asked }, { links }) => {
  const { argv, script, cwd, runAs, stdin, pty } = asked;
  const base64 = (word: string) => Buffer.from(word).toString('base64');
  const question = {
    user,
    verb,
    argv: argv?.map(base64),
    script: script === undefined ? undefined : base64(script),
    cwd: cwd === undefined ? undefined : base64(cwd),
    runAs,
    stdin,
    pty,
  };
  const said = await links.ask(name, async (host) => checkedAnswer(await host.ask('policy-test', question)));
  return {
    host: name,
    decision: said.decision,
    sentence: said.sentence,
    rule: said.rule ?? undefined,
    line: said.line ?? undefined,
    program: said.program ?? undefined,
    runAs: said.runAs ?? undefined,
    nearest: said.nearest.map(({ rule, line, why }) => ({ rule, line, why })),
  };
};

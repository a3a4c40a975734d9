/** The rules of this machine, and what a host's agent would decide. */
import { lintPolicy, PolicyError, readPolicyFile, ruleText, VERBS, type PolicyAnswer } from '../../internal.js';
import type { Answer } from './answer.js';

export const policy: Answer<'policy'> = async (_asked, { home }) => {
  const { policyFile: file } = home;
  const nothing = { file, rules: [], problems: [], findings: [], verbs: [...VERBS] };
  try {
    const { policy: own } = readPolicyFile(file);
    if (!own) return nothing;
    const rules = own.rules.map(ruleText).map(({ runAs, command, who, verbs, ...rule }) => ({
      ...rule,
      who: [...who],
      verbs: [...verbs],
      runAs: runAs ?? undefined,
      command: command ?? undefined,
    }));
    const findings = lintPolicy(own).map(({ rule, line, kind, what }) => ({ rule, line, kind, what }));
    return { ...nothing, sha256: own.sha256, rules, findings };
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    return { ...nothing, problems: error.problems.map(({ line, what }) => ({ line, what })) };
  }
};

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
  const said = await links.ask(name, async (host) => await host.ask<PolicyAnswer>('policy-test', question));
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

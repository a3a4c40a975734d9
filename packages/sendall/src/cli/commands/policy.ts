/** `sendall policy`: what callers who are no owners may do on this machine, and what an agent would decide. */
import { readFileSync } from 'node:fs';
import { UsageError } from '../../errors.js';
import { resolveHome } from '../../home.js';
import { connect, type Host, type RuleText } from '../../index.js';
import {
  checkedAnswer,
  gatherRules,
  lintPolicy,
  parsePolicy,
  PolicyError,
  prepareRun,
  readPolicyFile,
  ruleText,
  VERBS,
  type RulesPart,
} from '../../internal.js';
import { reach, reachOptions } from '../hosts/reach.js';
import { surroundings } from '../runs/run-options.js';
import { secretNames } from '../runs/secrets.js';
import { answer, json, table } from '../show/print.js';
import { aboutHost } from '../words/about-host.js';
import { notAVerb, under, type Arguments, type Command } from '../words/command.js';
import { EXIT } from '../words/exit-codes.js';
import { parseLimits } from '../words/limit-words.js';
import { isOneTarget } from '../words/targets.js';
import { count } from '../words/units.js';

export const policy: Command = {
  name: 'policy',
  usage: ['[show [TARGET]] | lint [--json]', 'check FILE [--json]', 'test [OPTIONS] USER VERB TARGET [-- ARGV…]'],
  summary: 'what callers who are no owners may do: show, check or question the rules of policy.yaml',
  examples: [
    'sendall policy show',
    'sendall policy show web1',
    'sendall policy lint',
    'sendall policy check new-policy.yaml',
    'sendall policy test alice exec web1 -- systemctl restart web-1',
    'sendall policy test alice put web1 -- /srv/app/app.conf',
  ],
  options: {
    ...under('With test', {
      ...surroundings,
      command: { value: 'TEXT', short: 'c', help: 'the shell text, for sh' },
      stdin: { help: 'as with stdin' },
      pty: { help: 'as with a terminal' },
    }),
    ...under('With test, and with show TARGET', reachOptions),
    json: { help: 'one JSON object a line on stdout' },
  },
  subcommands: ['show', 'lint', 'check', 'test'],
  completeAfter: { check: 'file' },
  completePlaces: { show: ['host'], test: ['principal', VERBS, 'host'] },
  async run(args) {
    const [verb, ...words] = args.words;
    if (verb === 'test') return await test(args, words);
    if (args.rest) throw new UsageError('only policy test takes a command behind "--"');
    if (verb === 'check') return check(args, words);
    if (verb === 'show' && words.length === 1) return await showOf(words[0]!, args);
    if (words.length) throw new UsageError(`policy does not know what "${words.at(-1)}" means here`);
    if (verb === undefined || verb === 'show') return await show(args);
    if (verb === 'lint') return lint(args);
    throw notAVerb('policy', verb, this.subcommands!);
  },
};

/** The policy of this home, or what is wrong with it, printed. */
function own(args: Arguments): ReturnType<typeof readPolicyFile> | undefined {
  const { policyFile: file } = resolveHome();
  try {
    return readPolicyFile(file);
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    problems(args, file, error);
    return undefined;
  }
}

function problems(args: Arguments, file: string, error: PolicyError): void {
  if (args.on('json')) json({ ok: false, file, problems: error.problems });
  else answer(...error.problems.map(({ line, what }) => `${file}:${line}: ${what}`));
}

async function show(args: Arguments): Promise<number> {
  const found = own(args);
  if (!found) return 1;
  const { file, policy: ours } = found;
  if (args.on('json')) {
    json({ file, sha256: ours?.sha256 ?? null, rules: ours?.rules.map(ruleText) ?? [] });
    return 0;
  }
  if (!ours) answer(`there is no ${file}: this machine's agent serves owners only`);
  else await list(file, ours.sha256, ours.rules.map(ruleText));
  return 0;
}

async function list(place: string, sha256: string, rules: readonly RuleText[]): Promise<void> {
  answer(`${place}: ${count(rules.length, 'rule')}, sha256 ${sha256}`);
  if (!rules.length) return;
  const rows = rules.map(({ line, id, who, verbs, runAs, command }) => [
    `${line}`,
    id,
    who.join(' '),
    verbs.join(' '),
    runAs ?? '-',
    command ?? '-',
  ]);
  await table([['LINE', 'RULE', 'WHO', 'VERBS', 'AS', 'COMMAND'], ...rows], true);
}

/** The rules that the agent of a host obeys. They hold on while its file is broken. */
async function showOf(target: string, args: Arguments): Promise<number> {
  if (!isOneTarget(target)) throw new UsageError('policy show asks one host');
  await using host = await asked(target, args);
  const told = await named(target, () => gatherRules((from) => host.ask<RulesPart>('policy-rules', { from })));
  const { file, sha256, problem, rules } = told;
  if (args.on('json')) json({ host: target, ...told });
  else {
    if (sha256 !== null) await list(`${target}: ${file}`, sha256, rules);
    else if (problem === null) answer(`${target} has no ${file}: its agent serves owners only`);
    if (problem !== null) answer(`not obeyed: ${problem}`);
  }
  return problem === null ? EXIT.ok : 1;
}

function lint(args: Arguments): number {
  const found = own(args);
  if (!found) return 1;
  const { file, policy: ours } = found;
  const findings = ours ? lintPolicy(ours) : [];
  if (args.on('json')) json({ ok: !findings.length, file, findings });
  else if (!ours) answer(`there is no ${file}: this machine's agent serves owners only`);
  else {
    answer(...findings.map(({ rule, line, what }) => `${file}:${line}: ${rule}: ${what}`));
    if (!findings.length) answer(`${count(ours.rules.length, 'rule')}, nothing found`);
  }
  return findings.length ? 1 : 0;
}

function check(args: Arguments, [path, ...more]: readonly string[]): number {
  if (path === undefined || more.length) throw new UsageError('policy check takes one file: sendall policy check FILE');
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw new UsageError(`${path} cannot be read (${(error as NodeJS.ErrnoException).code})`, { cause: error });
  }
  try {
    const { rules, sha256 } = parsePolicy(bytes, path);
    if (args.on('json')) json({ ok: true, file: path, sha256, rules: rules.length, problems: [] });
    else answer(`${path}: ${count(rules.length, 'rule')}, sha256 ${sha256}`);
    return 0;
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    problems(args, path, error);
    return 1;
  }
}

async function test(args: Arguments, [user, verb, target, ...more]: readonly string[]): Promise<number> {
  if (user === undefined || verb === undefined || target === undefined || more.length)
    throw new UsageError('policy test takes USER VERB TARGET: sendall policy test alice exec local -- id');
  if (!VERBS.some((each) => each === verb))
    throw new UsageError(`"${verb}" is no verb of a policy: they are ${VERBS.join(', ')}`);
  if (!isOneTarget(target)) throw new UsageError('policy test asks one host');
  if (verb === 'exec' && !args.rest?.length) throw new UsageError('exec needs a command: -- PROGRAM ARGUMENTS…');
  const moves = verb === 'put' || verb === 'get';
  if (moves && !args.rest?.length) throw new UsageError(`${verb} needs paths of the host: -- /srv/app/app.conf`);
  if (verb !== 'exec' && verb !== 'pty' && !moves && args.rest?.length)
    throw new UsageError(`${verb} takes no command behind "--"`);
  const question = questionOf(args, user, verb);
  await using host = await asked(target, args);
  const said = await named(target, async () => checkedAnswer(await host.ask('policy-test', question)));
  const { decision, rule, line, program, runAs, nearest, sentence } = said;
  if (args.on('json')) json({ decision, rule, line, program, runAs, nearest });
  else if (decision === 'allow') answer(`allowed: ${sentence}`);
  else {
    const [near] = nearest;
    answer(`denied: ${sentence}`);
    if (near) answer(`nearest: ${near.rule} (policy.yaml:${near.line}): ${near.why}`);
  }
  return decision === 'allow' ? EXIT.ok : EXIT.refused;
}

const asked = (target: string, args: Arguments): Promise<Host> =>
  target === 'local' ? connect('local') : reach(target, args);

/** What a host says, or does wrong, is told with its name. */
async function named<T>(target: string, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    throw target === 'local' ? error : aboutHost(target, error);
  }
}

function questionOf(args: Arguments, user: string, verb: string): object {
  const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64');
  const last = (name: string) => args.bytes(name).at(-1);
  const cwd = last('cwd');
  const script = last('command');
  const runAs = args.text('as');
  const limits = parseLimits(args.texts('limit'));
  // What no run can have is as wrong here as in `sendall run`.
  prepareRun(
    { verb: 'exec', argv: ['check'] },
    {
      ...(cwd === undefined ? {} : { cwd }),
      ...(runAs === undefined ? {} : { runAs }),
      ...(limits === undefined ? {} : { limits }),
    },
  );
  return {
    user,
    verb,
    argv: args.rest?.map(base64),
    script: script && base64(script),
    cwd: cwd && base64(cwd),
    env: args.bytes('env').map(base64),
    runAs,
    stdin: args.on('stdin'),
    pty: args.on('pty'),
    secrets: args.on('secret') ? secretNames(args) : undefined,
    secretAs: args.text('secret-as'),
    limits,
  };
}

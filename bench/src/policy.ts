/**
 * npm run bench -- policy [--rules N] [--rounds N]
 *
 * A decision of the policy, with the checks of the program's path on this machine, among many rules: in microseconds of
 * processor time, and as a share of what spawning `true` takes, in the same rounds. The goal is 50 µs with 1,000 rules.
 */
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { decide } from '../../packages/sendall/dist/policy/match.js';
import { parsePolicy } from '../../packages/sendall/dist/policy/parse.js';
import type { Request } from '../../packages/sendall/dist/policy/request.js';
import { ThisMachine } from '../../packages/sendall/dist/policy/this-machine.js';

const { values } = parseArgs({
  options: { rules: { type: 'string', default: '1000' }, rounds: { type: 'string', default: '9' } },
});
const RULES = Number(values.rules);
const ROUNDS = Number(values.rounds);
const DECISIONS = 500;
const GOAL = 50;

const now = () => performance.now();
const median = (list: readonly number[]) => list.toSorted((a, b) => a - b)[list.length >> 1] ?? NaN;

/** Rules as a team would write them, the last of which allows what is asked. */
const policyOf = (program: (i: number) => string, args: (i: number) => string) => {
  const rules = Array.from({ length: RULES }, (_, i) => {
    const words = `id: r${i}, who: [role:deploy, alice], verbs: [exec, attach], program: ${program(i)}`;
    return `  - {${words}, args: ${args(i)}, run-as: nobody, env: [LANG, 'APP_*'], limits: {timeout: 2m, memory: 512MiB}}`;
  });
  return Buffer.from(`version: 1\nrules:\n${rules.join('\n')}\n`);
};
const isLast = (i: number) => i === RULES - 1;
const other = policyOf(
  (i) => (isLast(i) ? '/usr/bin/id' : `/usr/bin/program-${i}`),
  () => "[{one-of: [restart, status]}, {like: 'web-*'}]",
);
const same = policyOf(
  () => '/usr/bin/id',
  (i) => `[{one-of: [restart, status]}, {like: 'web-${isLast(i) ? '' : `${i}-`}*'}]`,
);

const machine = new ThisMachine(0);
const asks = (...argv: string[]): Request => ({
  principal: 'alice',
  roles: ['deploy'],
  verb: 'exec',
  spec: {
    verb: 'exec',
    argv: argv.map((word) => Buffer.from(word)),
    env: [Buffer.from('APP_MODE=fast')],
    stdin: false,
    tags: [],
    secrets: [],
  },
});
const ways = {
  'allowed by the last rule, each of another program': [parsePolicy(other, 'other'), asks('id', 'status', 'web-x')],
  'allowed by the last rule, all of one program': [parsePolicy(same, 'same'), asks('/usr/bin/id', 'status', 'web-x')],
  'denied, all rules of one program': [parsePolicy(same, 'same'), asks('id', 'status', 'db-1')],
  'denied, no rule of the program': [parsePolicy(other, 'other'), asks('rm', '-rf', '/')],
} as const;

const took = new Map<string, number[]>(Object.keys(ways).map((name) => [name, []]));
const spawns: number[] = [];
const parses: number[] = [];
for (let round = 0; round < ROUNDS; round++) {
  for (const [name, [policy, request]] of Object.entries(ways)) {
    const begun = process.cpuUsage();
    for (let i = 0; i < DECISIONS; i++) decide(policy, request, machine);
    const { user, system } = process.cpuUsage(begun);
    took.get(name)!.push((user + system) / DECISIONS);
  }
  const spawning = now();
  for (let i = 0; i < 20; i++) spawnSync('/usr/bin/true');
  spawns.push(((now() - spawning) * 1000) / 20);
  const parsing = now();
  parsePolicy(other, 'other');
  parses.push(now() - parsing);
}

const spawned = median(spawns);
console.log(
  `a decision among ${RULES} rules, medians of ${ROUNDS} rounds of ${DECISIONS}, in processor time; goal ${GOAL} µs`,
);
for (const [name, times] of took) {
  const time = median(times);
  const share = ((100 * time) / spawned).toFixed(2);
  console.log(`${time.toFixed(1).padStart(8)} µs  ${share.padStart(6)} % of spawning true   ${name}`);
}
console.log(`${median(parses).toFixed(1).padStart(8)} ms  the rules read from ${other.length} bytes of YAML`);
for (const [name, times] of took) {
  const us = median(times);
  console.log(`result: ${JSON.stringify({ name: `policy: ${name}`, ratio: Number((us / GOAL).toFixed(3)), us })}`);
}
if (![...took.values()].every((times) => median(times) <= GOAL)) process.exitCode = 1;

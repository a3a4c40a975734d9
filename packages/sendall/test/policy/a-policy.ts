/** Rules and questions for tests: what is not said of them is nothing, or what harms least. */
import type { Spec } from '../../dist/protocol/messages.js';
import type { LintMachine, Request } from '../../dist/policy/request.js';
import type { Rule } from '../../dist/policy/rules.js';

/** A rule that lets alice start /usr/bin/true without arguments. */
export const aRule = (changes: Partial<Rule> = {}): Rule => ({
  id: 'a-rule',
  line: 1,
  principals: new Set(['alice']),
  roles: new Set(),
  verbs: new Set(['exec']),
  program: '/usr/bin/true',
  args: [],
  rest: undefined,
  paths: [],
  runAs: 'app',
  env: [],
  cwd: [],
  stdin: false,
  pty: false,
  limits: {},
  trustsProgram: false,
  ...changes,
});

/** What the command line sends for `sendall run`. */
export const aSpec = (argv: readonly (string | Uint8Array)[], changes: Partial<Spec> = {}): Spec => ({
  verb: 'exec',
  argv: argv.map((word) => Buffer.from(word as string)),
  env: [],
  stdin: false,
  tags: [],
  secrets: [],
  ...changes,
});

export const asks = (argv: readonly (string | Uint8Array)[], changes: Partial<Spec> = {}): Request => ({
  principal: 'alice',
  roles: [],
  verb: 'exec',
  spec: aSpec(argv, changes),
});

/** A machine of root's where all programs are safe, with a user "app". */
export const aMachine: LintMachine = {
  groups: () => [],
  uid: 0,
  account: (name) =>
    ({ root: { name, uid: 0 }, toor: { name, uid: 0 }, app: { name, uid: 1234 }, web: { name, uid: 1235 } })[name],
  program: (path) => ({ path: Buffer.from(path, 'latin1'), device: 1, inode: 2 }),
};

/** Runs of our own program, which moves files and connections: which they are, and what their specs may say. */
import type { Spec } from './messages.js';

/** Verbs that start our own program. */
export const OWN_VERBS = ['put', 'get', 'forward'] as const;

/** Whether a run starts our own program. */
export const startsOwnProgram = ({ verb }: Pick<Spec, 'verb'>): boolean =>
  verb === 'put' || verb === 'get' || verb === 'forward';

/** What is wrong with the spec of a run of our own program; undefined: nothing is. */
export function wrongOwnRun(spec: Spec): string | undefined {
  const { verb, argv, stdin, capture = 'split', overflow = 'block' } = spec;
  if (verb === 'get' ? argv.length === 0 : argv.length !== 1)
    return verb === 'get' ? 'spec.argv of get has no path' : `spec.argv of ${verb} has ${argv.length} words, not one`;
  const empty = argv.findIndex(({ length }) => length === 0);
  if (empty >= 0) return `argv[${empty}] is empty`;
  if (!stdin) return `spec.stdin of ${verb} is off, and its program reads the transfer there`;
  const given: readonly [string, boolean][] = [
    ['script', spec.script !== undefined],
    ['cwd', spec.cwd !== undefined],
    ['env', spec.env.length > 0],
    ['secrets', spec.secrets.length > 0],
    ['pty', spec.pty !== undefined],
    [`capture ${capture}`, capture !== 'split'],
    [`overflow ${overflow}`, overflow !== 'block'],
  ];
  const wrong = given.find(([, isGiven]) => isGiven);
  return wrong && `spec.${wrong[0]} is not for ${verb}: its program gets its operands and nothing else of its caller`;
}

// What the program may do, told by the keeper in variables. Without the first it refuses to start.

/** Where the operands may lie: ANYWHERE, or a JSON list of absolute paths, each with one character for each byte. */
export const ROOTS_VARIABLE = 'SENDALL_ROOTS';
/** For an owner. */
export const ANYWHERE = 'any';
/** Bytes of the largest file that may be placed or sent; absent: no limit. */
export const MAX_SIZE_VARIABLE = 'SENDALL_MAX_SIZE';

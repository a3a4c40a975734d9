/** What our own program gets besides its operands: nothing of its caller's, and of its user's account only the folder. */
import type { Grant, Spec } from '../../protocol/messages.js';
import { ANYWHERE, MAX_SIZE_VARIABLE, ROOTS_VARIABLE } from '../../protocol/own-runs.js';
import { RUN_MARK, STANDARD_PATH } from '../system/environment.js';
import type { Native } from '../system/native.js';
import { openFolder, StartFailure } from '../system/program.js';

const SLASH = 0x2f;
/** Bytes of the folders of a grant. Linux takes 128 KiB in one variable. */
const MAX_ROOTS = 100 * 1024;

/** Its variables. No HOME is among them: Node looks for modules there. */
export function ownEnvironment(runId: string, grant: Grant | undefined): { pairs: Uint8Array[]; path: Buffer } {
  const { roots, maxSize } = grant?.transfer ?? {};
  const allowed = grant ? JSON.stringify((roots ?? []).map((root) => Buffer.from(root).toString('latin1'))) : ANYWHERE;
  if (Buffer.byteLength(allowed) > MAX_ROOTS)
    throw new StartFailure('limits', `the folders of the rule ${grant?.rule} are more than ${MAX_ROOTS} bytes`);
  const variables: readonly [string, string | number | undefined][] = [
    ['PATH', STANDARD_PATH],
    ['LANG', 'C.UTF-8'],
    [RUN_MARK, runId],
    [ROOTS_VARIABLE, allowed],
    [MAX_SIZE_VARIABLE, maxSize],
  ];
  const pairs = variables.flatMap(([name, value]) => (value === undefined ? [] : [Buffer.from(`${name}=${value}`)]));
  return { pairs, path: Buffer.alloc(0) };
}

/**
 * Where it starts: in its user's home, or in / if that cannot be entered and no operand counts from there.
 * @throws StartFailure
 */
export function ownFolder(native: Native, home: string, { verb, argv }: Spec): number {
  try {
    return openFolder(native, Buffer.from(home));
  } catch (error) {
    if (verb !== 'forward' && argv.some(([first]) => first !== SLASH)) throw error;
    return openFolder(native, Buffer.from('/'));
  }
}

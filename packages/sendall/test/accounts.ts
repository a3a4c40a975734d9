/** Changes of the machine's accounts. Only one program at a time can make one; another that is in the way is waited for. */
import { execFileSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { patience } from '../../../test/support/waits.js';

const TURN = join(tmpdir(), 'sendall-tests-accounts.lock');
/** A program that is not of these tests may hold the lock of the system too. */
const PATIENT = `
while said=$("$@" 2>&1); code=$?; case $said in *"try again later"*) true ;; *) false ;; esac; do sleep 0.1; done
printf %s "$said" >&2
exit $code`;

/** Runs useradd, userdel or groupadd, once it can. */
export function changeAccounts(program: string, ...words: readonly string[]): void {
  const options = { stdio: 'pipe', timeout: patience(120_000) } as const;
  execFileSync('flock', [TURN, 'sh', '-c', PATIENT, 'sh', program, ...words], options);
}

/** Shell text in which such a program waits so. */
export const shellThatWaits = (program: string): string =>
  `${program}() { flock ${TURN} sh -c '${PATIENT}' sh ${program} "$@"; }\n`;

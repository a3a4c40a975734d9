/** Which file a command's first word means, and why it cannot run when it cannot. Source: POSIX execvp. */
import { closeSync, constants, openSync, readSync, realpathSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import type { SystemError } from '../../libc/system-error.js';
import type { Native } from './native.js';

/** Why a command does not start, as REFUSED says it. */
export class StartFailure extends Error {
  readonly code: 'nofile' | 'notexec' | 'nocwd' | 'limits' | 'badspec' | 'policy';
  constructor(code: StartFailure['code'], message: string) {
    super(message);
    this.name = 'StartFailure';
    this.code = code;
  }
}

const SLASH = 0x2f;
const SPACE = 0x20;
const COLON = 0x3a;
const O_PATH = 0o10000000;
const HERE = Buffer.from('.\0');

const show = (name: Uint8Array): string => JSON.stringify(Buffer.from(name).toString());

const NO_FOLDER: Readonly<Record<string, string>> = {
  ENOENT: 'does not exist',
  ENOTDIR: 'is not a folder',
  ENAMETOOLONG: 'has a longer name than the system takes (4,095 bytes, and mostly 255 for each part)',
  ELOOP: 'is behind links that lead in a circle',
};
/** Bytes of a folder's name in an error. */
const SHOWN_PATH = 200;

/** Opens the folder a command starts in. The caller closes it. */
export function openFolder(native: Native, path: Uint8Array): number {
  const name = Buffer.from(path);
  let fd: number;
  try {
    fd = openSync(name, O_PATH | constants.O_DIRECTORY);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'EMFILE' || code === 'ENFILE') throw error;
    const why = NO_FOLDER[code ?? ''] ?? `cannot be entered (${code})`;
    const shown = path.length > SHOWN_PATH ? `${show(path.subarray(0, SHOWN_PATH))}…` : show(path);
    throw new StartFailure('nocwd', `the working folder ${shown} ${why}`);
  }
  if (native.executable(fd, HERE) !== 0) {
    closeSync(fd);
    throw new StartFailure('nocwd', `the working folder ${show(path)} cannot be entered (EACCES)`);
  }
  return fd;
}

/**
 * Finds the program in `path` (the run's own PATH), or, when its name holds a slash, at that place seen from `cwd`.
 * Returns its path, NUL-terminated.
 * @throws StartFailure nofile or notexec.
 */
export function findProgram(native: Native, name: Uint8Array, path: Uint8Array, cwd: number): Buffer {
  if (name.includes(SLASH)) {
    const file = Buffer.concat([name, Buffer.alloc(1)]);
    const problem = native.executable(cwd, file);
    if (problem === 0) return file;
    throw absent(name, problem, problem === 'EACCES');
  }
  let denied = false;
  let start = 0;
  while (start <= path.length) {
    let end = path.indexOf(COLON, start);
    if (end < 0) end = path.length;
    // An empty entry means the working folder.
    const folder = end > start ? path.subarray(start, end) : Buffer.from('.');
    const file = Buffer.concat([folder, Buffer.from('/'), name, Buffer.alloc(1)]);
    const problem = native.executable(cwd, file);
    if (problem === 0 && !isFolder(file, cwd)) return file;
    if (problem === 'EACCES') denied = true;
    start = end + 1;
  }
  throw absent(name, denied ? 'EACCES' : 'ENOENT', denied);
}

function isFolder(file: Buffer, cwd: number): boolean {
  const name = file.subarray(0, -1);
  const absolute = name[0] === SLASH ? name : Buffer.concat([Buffer.from(`/proc/self/fd/${cwd}/`), name]);
  return statSync(absolute, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

function absent(name: Uint8Array, problem: string, denied: boolean): StartFailure {
  if (denied) return new StartFailure('notexec', `${show(name)} may not be executed (${problem})`);
  if (problem === 'ENOENT' || problem === 'ENOTDIR') {
    const unsplit = name.includes(SPACE) ? ': it is one word, and no shell splits it' : '';
    return new StartFailure('nofile', `${show(name)} is not there${unsplit}`);
  }
  return new StartFailure('nofile', `${show(name)} cannot be reached (${problem})`);
}

/** Programs whose runtimes see a socket where a datagram socket is, and drop what they write there. */
const DROP_DATAGRAMS = new Set(['node', 'nodejs', 'deno', 'bun']);
/** The first line of a script, at most. Source: Linux, BINPRM_BUF_SIZE. */
const FIRST_LINE = 256;

/**
 * Ordered capture is for programs that write to datagram sockets as they are.
 * @throws StartFailure for programs that are known to lose what they print, by their file's own name or that of the
 * interpreter in a script's first line.
 */
export function mustWriteToSockets(path: Buffer, cwd: number): void {
  const name = path.subarray(0, -1);
  const absolute = name[0] === SLASH ? name : Buffer.concat([Buffer.from(`/proc/self/fd/${cwd}/`), name]);
  let found: string[] = [];
  try {
    const real = realpathSync(absolute);
    found = [real, ...interpreterOf(real)].map((each) => basename(each));
  } catch {
    // What cannot be read is not one of them, or does not start.
  }
  const program = found.find((each) => DROP_DATAGRAMS.has(each));
  if (program === undefined) return;
  throw new StartFailure(
    'badspec',
    `${program} loses what it prints to the sockets of ordered capture: take --capture exact (capture: "exact")`,
  );
}

/** The words behind "#!" of a script: "/usr/bin/env node" says node. */
function interpreterOf(file: string): string[] {
  const fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const head = Buffer.alloc(FIRST_LINE);
    const line = head.toString('latin1', 0, readSync(fd, head)).split('\n', 1)[0]!;
    return line.startsWith('#!') ? line.slice(2).trim().split(/\s+/) : [];
  } finally {
    closeSync(fd);
  }
}

/** What a failed start means, told by the system call's error. */
export function startFailure(name: Uint8Array, error: SystemError): StartFailure {
  const { errno, message } = error;
  switch (errno) {
    case 'ENOENT':
      return new StartFailure('nofile', `${show(name)} is there, but the interpreter it names is not`);
    case 'EACCES':
    case 'EPERM':
    case 'ETXTBSY':
    case 'ENOEXEC':
      return new StartFailure('notexec', `${show(name)} may not be executed (${errno})`);
    case 'EAGAIN':
      return new StartFailure(
        'limits',
        `the system could not start ${show(name)} (${message}): as many processes run as its user, its container or the machine may have`,
      );
    default:
      return new StartFailure('limits', `the system could not start ${show(name)} (${message})`);
  }
}

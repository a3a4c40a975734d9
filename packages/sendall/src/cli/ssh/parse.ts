/** Parses the words of a command line of ssh as OpenSSH's getopt does it. */
import { UsageError } from '../../errors.js';
import { textOf } from '../words/command.js';
import type { Call, CallDraft } from './call.js';
import { splitDestination } from './destination.js';
import { obey, portOf } from './keywords.js';
import { ignoredLetters, refusedLetters, sshOptions } from './options.js';

const DASH = 0x2d;
const TILDE = 0x7e;

/**
 * Reads the words behind `sendall ssh`. `-V` needs no host: it is what is done then, whatever follows.
 * @throws UsageError that names what is wrong.
 */
export function parseCall(words: readonly Uint8Array[]): Call {
  const call: CallDraft = {
    action: 'run',
    subsystem: false,
    readsStdin: true,
    escapeKey: TILDE,
    quiet: false,
    verbose: false,
    setEnv: [],
    sendEnv: [],
    shares: true,
    command: [],
  };
  const reader = new Words(words);
  const ended = readOptions(reader, call);
  if (call.action === 'version') return { ...call, host: '' };
  const destination = reader.next();
  if (destination === undefined) throw new UsageError('there is no HOST: sendall ssh [OPTIONS] [USER@]HOST [COMMAND…]');
  const { host, user, port } = splitDestination(textOf(destination));
  call.host = host;
  call.user ??= user;
  call.port ??= port;
  if (!ended) readOptions(reader, call);
  if ((call.action as string) === 'version') return { ...call, host };
  call.command = reader.rest();
  check(call);
  return { ...call, host };
}

/** A call must not mean what its caller cannot have meant. */
function check({ host = '', hostName, user, action, subsystem, command }: CallDraft): void {
  for (const [what, name] of [
    ['HOST', host],
    ['-o HostName', hostName],
    ['USER', user],
  ] as const) {
    if (name === '') throw new UsageError(`${what} is empty`);
    if (name?.startsWith('-')) throw new UsageError(`${what} "${name.slice(0, 80)}" begins with a dash`);
  }
  if (subsystem && !command.length) throw new UsageError('-s needs a subsystem behind the host: -s HOST sftp');
  if (action === 'forward' && command.length) throw new UsageError('-W takes no command');
}

/** The words, one after the other. */
class Words {
  readonly #words: readonly Uint8Array[];
  #at = 0;

  constructor(words: readonly Uint8Array[]) {
    this.#words = words;
  }

  get head(): Uint8Array | undefined {
    return this.#words[this.#at];
  }

  next(): Uint8Array | undefined {
    return this.#words[this.#at++];
  }

  rest(): readonly Uint8Array[] {
    return this.#words.slice(this.#at);
  }
}

/** Reads options up to the first word that is none. True when `--` has ended them. */
function readOptions(words: Words, call: CallDraft): boolean {
  for (let word = words.head; word; word = words.head) {
    // A single dash is a word like any other.
    if (word[0] !== DASH || word.length < 2) return false;
    words.next();
    if (word[1] !== DASH) readLetters(word, words, call);
    else if (word.length === 2) return true;
    else readNamed(word, words, call);
    if (call.action === 'version') return true;
  }
  return false;
}

/** `-tt`, `-p22`, `-l root`: the first letter that takes a value takes the rest of the word, or the next one. */
function readLetters(word: Uint8Array, words: Words, call: CallDraft): void {
  for (let i = 1; i < word.length; i++) {
    const letter = String.fromCharCode(word[i]!);
    if (ignoredLetters.has(letter)) continue;
    if (letter === 'F') return readConfigFile(valueOf(letter, word, i, words));
    const option = letter.length === 1 && Object.hasOwn(sshOptions, letter) ? sshOptions[letter] : undefined;
    if (!option) throw refused(letter);
    if (option.value !== undefined) return takeValue(letter, valueOf(letter, word, i, words), call);
    takeSwitch(letter, call);
    if (call.action === 'version') return;
  }
}

function valueOf(letter: string, word: Uint8Array, i: number, words: Words): Uint8Array {
  const value = i + 1 < word.length ? word.subarray(i + 1) : words.next();
  if (!value) throw new UsageError(`-${letter} needs a value`);
  return value;
}

function refused(letter: string): UsageError {
  const why = Object.hasOwn(refusedLetters, letter) ? refusedLetters[letter] : undefined;
  return new UsageError(
    why === undefined
      ? `-${letter} is no option of sendall ssh: see sendall ssh --help`
      : `-${letter} is refused: ${why}`,
  );
}

function readConfigFile(file: Uint8Array): void {
  if (!['none', '/dev/null'].includes(textOf(file)))
    throw new UsageError('-F is refused: sendall reads no ssh_config (only "none" and /dev/null are taken)');
}

function takeSwitch(letter: string, call: CallDraft): void {
  if (letter === 't') call.requestTty = call.requestTty === 'yes' ? 'force' : 'yes';
  else if (letter === 'T') call.requestTty = 'no';
  else if (letter === 'n') call.readsStdin = false;
  else if (letter === 's') call.subsystem = true;
  else if (letter === 'q') call.quiet = true;
  else if (letter === 'v') call.verbose = true;
  else if (letter === 'G') call.action = 'settings';
  else if (letter === 'V') call.action = 'version';
}

function takeValue(letter: string, value: Uint8Array, call: CallDraft): void {
  const text = textOf(value);
  if (letter === 'l') call.user ??= text;
  else if (letter === 'p') call.port ??= portOf(text, '-p');
  else if (letter === 'o') obey(text, call);
  else if (letter === 'e') call.escapeKey = escapeKey(text);
  else if (letter === 'E') call.logFile = value;
  else if (letter === 'W') {
    call.action = 'forward';
    call.forward = text;
  } else if (text === 'check' || text === 'exit') call.action = text;
  else throw new UsageError(`-O ${text.slice(0, 80)} is refused: there are check and exit`);
}

/** "none", a key, or "^X" for a control key. */
function escapeKey(text: string): number | undefined {
  if (text === 'none') return undefined;
  const code = text.charCodeAt(text.length - 1);
  if (text.length === 1 && code < 0x80) return code;
  if (text.length === 2 && text[0] === '^' && code >= 0x40 && code < 0x80) return code & 0x1f;
  throw new UsageError(`-e: "${text.slice(0, 80)}" is not one key, ^ and a key, or none`);
}

/** `--sftp-server PATH` or `--sftp-server=PATH`. */
function readNamed(word: Uint8Array, words: Words, call: CallDraft): void {
  const equals = word.indexOf(0x3d);
  const name = textOf(equals < 0 ? word.subarray(2) : word.subarray(2, equals));
  const option = name.length > 1 && Object.hasOwn(sshOptions, name) ? sshOptions[name] : undefined;
  if (!option) throw new UsageError(`--${name.slice(0, 80)} is no option of sendall ssh: see sendall ssh --help`);
  if (option.value === undefined) {
    if (equals >= 0) throw new UsageError(`--${name} takes no value`);
    call.shares = false;
    return;
  }
  const value = equals < 0 ? words.next() : word.subarray(equals + 1);
  if (!value?.length) throw new UsageError(`--${name} needs a value`);
  if (name === 'sftp-server') call.sftpServer = value;
  else if (name === 'identity') call.identity = textOf(value);
  else call.via = wayOf(textOf(value));
}

function wayOf(text: string): 'nats' | 'direct' {
  if (text === 'nats' || text === 'direct') return text;
  throw new UsageError(`--via: "${text.slice(0, 80)}" is not one of nats, direct`);
}

/** The options of `sendall ssh` in one table, for the parser, the help and the manual page; and those of ssh that it refuses. */
import { under, type Option } from '../words/command.js';

/** Our own ones have names, those of ssh one letter each. */
export const sshOptions: Readonly<Record<string, Option>> = {
  ...under('Where and as whom', {
    l: { value: 'USER', help: 'run as this user of the host; also USER@HOST' },
    p: { value: 'PORT', help: 'the port of HOST, which must be the one that is known when HOST is an address' },
    identity: { value: 'NAME', help: 'call as this identity; see sendall identity', complete: 'identity' },
    via: {
      value: 'WAY',
      help: 'nats: through the broker; direct: to the host’s own address',
      complete: ['nats', 'direct'],
    },
    'no-share': { help: 'make a new link instead of using a warm one' },
  }),
  ...under('What runs', {
    s: { help: 'COMMAND is a subsystem: sftp' },
    'sftp-server': { value: 'PATH', help: 'the host’s sftp-server, for -s sftp', complete: 'file' },
    t: { help: 'give the command a terminal; -tt: also when our stdin is none' },
    T: { help: 'give it no terminal' },
    n: { help: 'leave our stdin alone' },
    e: { value: 'CHAR', help: 'the escape character of a terminal (default ~); none: no escapes' },
    W: { value: 'HOST:PORT', help: 'connect stdin and stdout with this address, seen from the host' },
  }),
  ...under('What is said', {
    q: { help: 'print no messages of our own' },
    v: { help: 'say on stderr what happens' },
    E: { value: 'FILE', help: 'append our messages to this file, not to stderr', complete: 'file' },
  }),
  ...under('Questions', {
    G: { help: 'print the settings for HOST and end' },
    V: { help: 'print the version and end' },
    O: { value: 'WHAT', help: 'check: is there a warm link to HOST; exit: close it', complete: ['check', 'exit'] },
  }),
  o: { value: 'KEY=VALUE', help: 'a setting of ssh_config(5): docs/sendall/ssh.md lists those that are understood' },
};

/** Switches of ssh without a meaning here, and without harm. `-2` is what sshfs says: the only protocol that is left. */
export const ignoredLetters: ReadonlySet<string> = new Set(['C', 'x', 'a', '4', '6', 'k', '2']);

const NO_FORWARDING = 'sendall forwards no ports but -W';
const NO_AGENT = 'sendall has no agent to forward: pair the host with the next one';
const NO_X11 = 'sendall forwards no X11';
const NO_JUMP = 'a host is reached at its own address or through a broker (sendall engine)';

/** Options of ssh that would change what happens, and why they are refused. */
export const refusedLetters: Readonly<Record<string, string>> = {
  L: NO_FORWARDING,
  R: NO_FORWARDING,
  D: NO_FORWARDING,
  w: 'sendall makes no tunnels',
  A: NO_AGENT,
  X: NO_X11,
  Y: NO_X11,
  J: NO_JUMP,
  N: 'without a command there is nothing to do',
  f: 'put "&" behind the command line, or use sendall run -d',
  i: 'the key is the one that was paired (sendall identity)',
  M: 'links are shared by themselves (sendall links)',
  S: 'links are shared by themselves (sendall links)',
};

/** Commands that look for a way around one policy: each is denied, but for a few beside them that are allowed. */
import { secret, type RunOptions } from 'sendall';

/** The policy. Its programs only print. */
export const corpusPolicy = `version: 1
rules:
  - id: service
    who: [role:deploy]
    verbs: [exec]
    program: /usr/bin/echo
    args: [{one-of: [restart, status]}, {like: 'web-*'}]
    run-as: bin
    cwd: [/, /usr]
    limits: {timeout: 1m, output: 1MiB, memory: 64MiB}
  - id: log
    who: [role:deploy]
    verbs: [exec]
    program: /usr/bin/echo
    args: [show, {path: '/var/log/app/**'}]
    run-as: bin
  - id: option
    who: [role:deploy]
    verbs: [exec]
    program: /usr/bin/echo
    args: [count, {number: 1..20}, {like: '--lines=*'}]
    rest: {each: {like: '?'}, max: 2}
    run-as: bin
  - id: variables
    who: [role:deploy]
    verbs: [exec]
    program: /usr/bin/printenv
    args: [MODE]
    run-as: bin
    env: [LANG, LANGUAGE, 'LC_*', TERM, TZ, 'APP_*', {MODE: {one-of: [fast, slow]}}]
`;

export interface Attempt {
  readonly argv: readonly (string | Uint8Array)[];
  readonly options?: RunOptions;
  readonly shell?: string;
}

const service = (word: string | Uint8Array) => ({ argv: ['echo', 'status', word] });
const show = (word: string | Uint8Array) => ({ argv: ['echo', 'show', word] });
const number = (word: string) => ({ argv: ['echo', 'count', word, '--lines=1'] });
const option = (...words: string[]) => ({ argv: ['echo', 'count', '1', ...words] });
const variables = (env: RunOptions['env']) => ({ argv: ['printenv', 'MODE'], options: { env } });
const secrets = (name: string, value: string, secretAs: 'fd' | 'env' = 'env') => ({
  argv: ['printenv', 'MODE'],
  options: { secrets: { [name]: secret(value) }, secretAs },
});
const fine = ['echo', 'status', 'web-1'];
const named = (program: string) => ({ argv: [program, 'status', 'web-1'] });
const as = (options: RunOptions) => ({ argv: fine, options });

export const allowed: Readonly<Record<string, Attempt>> = {
  'as the rule says': service('web-1.example_com:80@a+b=c,d'),
  'the whole path': named('/usr/bin/echo'),
  'a pattern that matches nothing more': service('web-'),
  'a folder that the rule names': as({ cwd: '/usr' }),
  'the account that the rule names': as({ runAs: 'bin' }),
  'less time and output than the rule gives': as({ timeout: '50s', maxOutput: 1000, limits: { memory: 33554432 } }),
  'a path far below': show('/var/log/app/a/b/c.log'),
  'a number': number('20'),
  'an option that the pattern begins with': option('--lines=-3', 'a', 'b'),
  'variables of the rule': variables({ MODE: 'slow', APP_X: '$(id);\n', LANG: 'C.UTF-8', TZ: 'Europe/Berlin' }),
};

const words: Readonly<Record<string, string | Uint8Array>> = {
  'a semicolon': 'web-1;id',
  'a pipe': 'web-1|id',
  'an ampersand': 'web-1&id',
  'a command substitution': 'web-$(id)',
  backticks: 'web-`id`',
  'a variable': 'web-$HOME',
  'a newline': 'web-1\nid',
  'a newline at the end': 'web-1\n',
  'a space': 'web-1 id',
  'a quote': "web-1'",
  'a backslash': 'web-\\1',
  'a redirection': 'web-1>/tmp/x',
  'a star for the program': 'web-*',
  'a class for the program': 'web-[1]',
  braces: 'web-{1,2}',
  'a home': 'web-~',
  'a comment': 'web-#',
  'a control character': 'web-\u001b[2J',
  'letters beyond ASCII': 'web-ä',
  'a letter that looks alike': 'w\u0435b-1',
  'bytes that are not UTF-8': Buffer.from('web-\xff', 'latin1'),
  'an overlong slash': Buffer.from('web-\xc0\xaf', 'latin1'),
  'a slash': 'web-/../../x',
  'another beginning': 'xweb-1',
  'another case': 'WEB-1',
  'a leading dash': '-web-1',
  'an option': '--now',
  'an option behind the pattern': '-Hweb-1',
  'an empty word': '',
  'a long word': `web-${'x'.repeat(5000)}`,
};
const programs: Readonly<Record<string, string>> = {
  'a relative path': './echo',
  'two slashes': '//usr/bin/echo',
  'two slashes inside': '/usr//bin/echo',
  'the parent folder': '/usr/bin/../bin/echo',
  'the same folder': '/usr/bin/./echo',
  'a slash at the end': '/usr/bin/echo/',
  'another path to the same file': '/bin/echo',
  'a path through /proc': '/proc/self/root/usr/bin/echo',
  'a path without its slash': 'usr/bin/echo',
  'another case': 'Echo',
  'a space behind it': 'echo ',
  'a newline behind it': 'echo\n',
  'another program': 'id',
  'a shell': '/bin/sh',
  'the pattern of a program': '/usr/bin/*',
  'a home': '~/echo',
};
const paths: Readonly<Record<string, string>> = {
  'the parent folder': '/var/log/app/../../../etc/shadow',
  'the parent folder at the end': '/var/log/app/x/..',
  'the same folder': '/var/log/app/./x',
  'two slashes': '/var/log/app//x',
  'two slashes at first': '//var/log/app/x',
  'the folder itself': '/var/log/app',
  'the folder with a slash': '/var/log/app/',
  'a slash at the end': '/var/log/app/x/',
  'a folder with a like beginning': '/var/log/application/x',
  'a relative path': 'var/log/app/x',
  'a newline': '/var/log/app/x\n',
  'a star': '/var/log/app/*',
  'a space': '/var/log/app/x y',
  'a dash before it': '-/var/log/app/x',
  'an address': 'host:/var/log/app/x',
};
const numbers: Readonly<Record<string, string>> = {
  'too small a number': '0',
  'too large a number': '21',
  'a sign': '+1',
  'a negative number': '-1',
  'a leading zero': '01',
  'a fraction': '1.0',
  'an exponent': '1e0',
  'a hexadecimal number': '0x1',
  'a space before it': ' 1',
  'a newline behind it': '1\n',
  'digits of another script': '１',
  'no digits': '',
  'a number beyond doubles': '1'.repeat(400),
};
const env: Readonly<Record<string, RunOptions['env']>> = {
  'a library to load': { LD_PRELOAD: '/tmp/x.so' },
  'an auditing library': { LD_AUDIT: '/tmp/x.so' },
  'settings of libc': { GLIBC_TUNABLES: 'x' },
  'a PATH': { PATH: '/tmp' },
  'a separator': { IFS: 'x' },
  'a start of bash': { BASH_ENV: '/tmp/x' },
  'a start of sh': { ENV: '/tmp/x' },
  'a function of bash': ['BASH_FUNC_echo%%=() { id; }'],
  'a value like a function': { APP_X: '() { :;}; id' },
  'options of node': { NODE_OPTIONS: '--require=/tmp/x' },
  'a start of python': { PYTHONSTARTUP: '/tmp/x' },
  'options of perl': { PERL5OPT: '-Mx' },
  'options of ruby': { RUBYOPT: '-rx' },
  'a program for git': { GIT_SSH_COMMAND: 'id' },
  'another home': { HOME: '/tmp' },
  'another shell': { SHELL: '/tmp/x' },
  'a mark of ours': { SENDALL_RUN: 'x' },
  'a variable of no rule': { MODE2: 'fast' },
  'the beginning alone': { APP: 'x' },
  'another case': { app_x: 'x' },
  'a value of no rule': { MODE: 'turbo' },
  'a value with more behind it': { MODE: 'fast\n' },
  'a name with a newline': ['APP_X\nLD_PRELOAD=x'],
  'a language from a folder': { LANG: '../../tmp/x' },
  'a terminal from a folder': { TERM: '../x' },
  'a time zone from a file': { TZ: '/etc/shadow' },
  'a time zone from above': { TZ: 'a/../../etc/shadow' },
  'one good and one bad': { MODE: 'fast', LD_PRELOAD: 'x' },
  'a good value before a bad one': ['MODE=fast', 'MODE=turbo'],
};

const all = <T>(kind: string, cases: Readonly<Record<string, T>>, make: (value: T) => Attempt): [string, Attempt][] =>
  Object.entries(cases).map(([what, value]) => [`${kind}: ${what}`, make(value)]);

export const denied: Readonly<Record<string, Attempt>> = Object.fromEntries([
  ...all('a word', words, service),
  ...all('argv[0]', programs, named),
  ...all('a path', paths, show),
  ...all('a number', numbers, number),
  ...all('the environment', env, variables),
  ...Object.entries<Attempt>({
    'a word too many': { argv: [...fine, 'web-2'] },
    'an empty word too many': { argv: [...fine, ''] },
    'a word too few': { argv: ['echo', 'status'] },
    'no words': { argv: ['echo'] },
    'words in another order': { argv: ['echo', 'web-1', 'status'] },
    'all in one word': { argv: ['echo status web-1'] },
    'another subcommand': { argv: ['echo', 'stop', 'web-1'] },
    'an option without the pattern': option('--line=1'),
    'an option in two words': option('--lines=', '-3', 'a'),
    'a dash where the rest begins': option('--lines=1', '-'),
    'too much of the rest': option('--lines=1', 'a', 'b', 'c'),
    'a long word in the rest': option('--lines=1', 'ab'),
    'the program of one rule with the words of another': { argv: ['printenv', 'status', 'web-1'] },
    'the variables of another rule': as({ env: { MODE: 'fast' } }),
    'a time zone that the rules cannot see': secrets('TZ', '/etc/shadow'),
    'a time zone as a descriptor': secrets('TZ', '/etc/shadow', 'fd'),
    'a language that the rules cannot see': secrets('LC_ALL', '../../tmp/x'),
    'a list of languages that the rules cannot see': secrets('LANGUAGE', '../../tmp/x'),
    'a value that the rules state, as a secret': secrets('MODE', 'fast'),
    'shell text': { argv: [], shell: 'echo status web-1' },
    'shell text with words of a rule': { argv: ['/bin/sh', '-c', 'echo status web-1'] },
    'env before it': { argv: ['env', 'echo', 'status', 'web-1'] },
    'another folder': as({ cwd: '/tmp' }),
    'a folder with more behind it': as({ cwd: '/usr/' }),
    'a folder through another': as({ cwd: '/usr/../etc' }),
    'a relative folder': as({ cwd: 'usr' }),
    root: as({ runAs: 'root' }),
    'root by its number': as({ runAs: '0' }),
    'another account': as({ runAs: 'daemon' }),
    stdin: as({ stdin: 'pipe' }),
    'a terminal': as({ pty: true }),
    'more time than the rule gives': as({ timeout: '2m' }),
    'more output than the rule gives': as({ maxOutput: 2 * 1024 * 1024 }),
    'more memory than the rule gives': as({ limits: { memory: 1024 * 1024 * 1024 } }),
    'a long grace': as({ killGrace: '1h' }),
    'a long keep': as({ keep: '30d' }),
    'a large spool': as({ spoolMax: 1024 ** 4 }),
    'a name with a newline': as({ name: 'a\nb' }),
    'a long name': as({ name: 'x'.repeat(1000) }),
    'many tags': as({ tags: Array.from({ length: 100 }, (_, i) => `t${i}`) }),
    'a tag that turns the text': as({ tags: ['\u202Ex'] }),
  }),
]);

/** The words of `sendall ssh` mean what they mean to OpenSSH, or are refused by name. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { UsageError } from 'sendall';
import { parseCall } from '../../dist/cli/ssh/parse.js';

const parse = (...words: string[]) => parseCall(words.map((word) => Buffer.from(word)));
const commandOf = (...words: string[]) => parse(...words).command.map((word) => Buffer.from(word).toString());
const refusal = (...words: string[]): string => {
  try {
    parse(...words);
  } catch (error) {
    expect(error).toBeInstanceOf(UsageError);
    return (error as Error).message;
  }
  throw new Error(`${words.join(' ')} is taken`);
};

describe('the order of words', () => {
  test.each([
    [['-l', 'root', 'web1', '-p22', 'ls', '-l'], { user: 'root', port: 22 }, ['ls', '-l']],
    [['web1', '-e', 'none', 'unison', '-server'], { escapeKey: undefined }, ['unison', '-server']],
    [
      ['-x', '-oPermitLocalCommand=no', '-o', 'RequestTTY=no', '--', 'web1', '-l', 'x'],
      { requestTty: 'no' },
      ['-l', 'x'],
    ],
    [['web1', '--', '-l', 'x'], {}, ['-l', 'x']],
    [['web1', '-n', '--', 'ls', '--', 'x'], { readsStdin: false }, ['ls', '--', 'x']],
    [['-', 'ls'], { host: '-' }, undefined],
    [['web1', '-', '-n'], { readsStdin: true }, ['-', '-n']],
    [['-Cxa46k2', 'web1', 'ls'], {}, ['ls']],
    [['-nTp', '22', 'web1'], { readsStdin: false, requestTty: 'no', port: 22 }, []],
    [['-t', 'web1', '-t', 'ls'], { requestTty: 'force' }, ['ls']],
    [['-s', '--sftp-server', '/x/sftp-server', '--', 'web1', 'sftp'], { subsystem: true }, ['sftp']],
    [['web1', '-s', 'sftp'], { subsystem: true }, ['sftp']],
  ] as const)('%j', (words, expected, command) => {
    if (command === undefined) {
      expect(refusal(...words)).toContain('begins with a dash');
      return;
    }
    expect(parse(...words)).toMatchObject(expected);
    expect(commandOf(...words)).toEqual(command);
  });

  test('the first of two users, ports or settings counts', () => {
    expect(parse('-l', 'a', '-l', 'b', '-p1', '-o', 'Port=2', 'c@web1')).toMatchObject({ user: 'a', port: 1 });
    expect(parse('c@web1', '-l', 'a')).toMatchObject({ user: 'c' });
    expect(parse('-o', 'User=a', '-la', 'c@d@web1')).toMatchObject({ user: 'a', host: 'web1' });
    expect(parse('c@d@web1')).toMatchObject({ user: 'c@d', host: 'web1' });
  });

  test('a host may be a URI', () => {
    expect(parse('ssh://root@web1:2222', 'ls')).toMatchObject({ user: 'root', host: 'web1', port: 2222 });
    expect(parse('ssh://[::1]:22/')).toMatchObject({ host: '::1', port: 22 });
    expect(parse('ssh://a%40b@web1')).toMatchObject({ user: 'a@b', host: 'web1' });
    for (const wrong of ['ssh://', 'ssh://web1:0', 'ssh://web1:70000', 'ssh://[web1]', 'ssh://a%zz@web1'])
      expect(refusal(wrong)).toMatch(/web1|URI|ssh:\/\//);
  });

  test('-V is all that is done, with and without a host', () => {
    expect(parse('-V').action).toBe('version');
    expect(parse('-vV', '-L', 'x').action).toBe('version');
    expect(parse('web1', '-V', '-L').action).toBe('version');
  });
});

describe('settings', () => {
  test('keys in any case, with "=" or a blank, values in quotes', () => {
    const words = ['connecttimeout=10', 'CONNECTTIMEOUT 10', 'ConnectTimeout = "10"', 'ConnectTimeout=10s'];
    for (const word of words) expect(parse('-o', word, 'web1').connectTimeout).toBe(10_000);
    expect(parse('-oConnectTimeout=1m30', 'web1').connectTimeout).toBe(90_000);
    expect(parse('-oConnectTimeout=none', 'web1').connectTimeout).toBe(0);
  });

  test('those that change nothing are ignored', () => {
    const any = `ControlMaster=auto ControlPath="/x" ControlPersist=60s Compression=yes LogLevel=DEBUG3 ServerAliveInterval=5
      ServerAliveCountMax=3 PubkeyAuthentication=no KbdInteractiveAuthentication=no PreferredAuthentications=publickey
      NumberOfPasswordPrompts=0 IdentityFile=/x IdentitiesOnly=yes UserKnownHostsFile=/dev/null GlobalKnownHostsFile=/x
      StrictHostKeyChecking=no StrictHostKeyChecking=accept-new ForwardX11=no ForwardAgent=no PermitLocalCommand=no
      ClearAllForwardings=yes ProxyCommand=none ProxyJump=None RemoteCommand=none BatchMode=yes`;
    const { command, ...plain } = parse('web1');
    const options = any.split(/\s+/).flatMap((setting) => ['-o', setting]);
    expect(parse(...options, '-F', 'none', '-F/dev/null', 'web1')).toEqual({ ...plain, command });
  });

  test.each([
    ['-oForwardX11=yes', 'ForwardX11'],
    ['-oForwardAgent=yes', 'ForwardAgent'],
    ['-oPermitLocalCommand=yes', 'PermitLocalCommand'],
    ['-oClearAllForwardings=no', 'ClearAllForwardings'],
    ['-oProxyCommand=nc %h %p', 'ProxyCommand'],
    ['-oProxyJump=gate', 'ProxyJump'],
    ['-oRemoteCommand=ls', 'RemoteCommand'],
    ['-oLocalCommand=ls', 'LocalCommand'],
    ['-oLocalForward=1 x:1', 'LocalForward'],
    ['-oNoSuchKey=1', 'NoSuchKey'],
    ['-oBatchMode=perhaps', 'BatchMode'],
    ['-oRequestTTY=often', 'RequestTTY'],
    ['-oPort=0', 'Port'],
    ['-oConnectTimeout=soon', 'ConnectTimeout'],
    ['-oSendEnv=*', 'SendEnv'],
    ['-oSendEnv=LANG *_X', 'SendEnv'],
    ['-oSetEnv=1=2', 'SetEnv'],
    ['-oUser', '"User"'],
    ['-o=', '"="'],
  ])('%s is refused by name', (word, name) => {
    expect(refusal(word, 'web1')).toContain(name);
    expect(refusal('web1', word, 'ls')).toContain(name);
  });

  test('variables: SetEnv with values, SendEnv with names and LC_*', () => {
    const { setEnv, sendEnv } = parse(
      '-oSetEnv=A=1 B="2 3" C=',
      '-oSendEnv=LANG LC_*',
      '-o',
      'SendEnv GIT_PROTOCOL',
      'web1',
    );
    expect(setEnv.map(String)).toEqual(['A=1', 'B=2 3', 'C=']);
    expect(sendEnv).toEqual(['LANG', 'LC_*', 'GIT_PROTOCOL']);
  });
});

test.each([
  'L',
  'R',
  'D',
  'J',
  'A',
  'X',
  'Y',
  'N',
  'f',
  'w',
  'F',
  'i',
  'M',
  'S',
  'b',
  'c',
  'g',
  'I',
  'K',
  'm',
  'P',
  'Q',
  'y',
  'Z',
  'é',
])('-%s is refused by name', (letter) => {
  expect(refusal(`-${letter}`, 'x', 'web1')).toContain(`-${letter === 'é' ? '' : letter}`);
  expect(refusal('-n', `-v${letter}`, 'x', 'web1')).toMatch(/^-/);
  expect(refusal('web1', `-${letter}`, 'x')).toMatch(/^-/);
  expect(commandOf('web1', 'ls', `-${letter}`)).toEqual(['ls', `-${letter}`]);
});

test.each([
  [[], 'no HOST'],
  [['-n'], 'no HOST'],
  [['@web1'], 'USER is empty'],
  [['root@'], 'HOST is empty'],
  [['--', '-web1'], 'begins with a dash'],
  [['-l', '-x', 'web1'], 'begins with a dash'],
  [['-o', 'HostName=-x', 'web1'], 'begins with a dash'],
  [['-o', 'User=-x', 'web1'], 'begins with a dash'],
  [['--', '-x@web1'], 'begins with a dash'],
  [['-p', 'ssh', 'web1'], '-p: "ssh"'],
  [['-p'], '-p needs a value'],
  [['web1', '-l'], '-l needs a value'],
  [['-e', 'ab', 'web1'], '-e:'],
  [['-O', 'forward', 'web1'], '-O forward'],
  [['-O', 'stop', 'web1'], '-O stop'],
  [['-s', 'web1'], '-s needs a subsystem'],
  [['-W', 'a:1', 'web1', 'ls'], '-W takes no command'],
  [['--no-such', 'web1'], '--no-such'],
  [['--via=x', 'web1'], '--via'],
  [['--sftp-server'], '--sftp-server needs'],
  [['--no-share=1', 'web1'], '--no-share takes no value'],
] as const)('%j is refused with its reason', (words, reason) => {
  expect(refusal(...words)).toContain(reason);
});

/** One option as it may be written, and what it says. */
const flag = fc.constantFrom(
  ['n', { readsStdin: false }],
  ['q', { quiet: true }],
  ['v', { verbose: true }],
  ['s', { subsystem: true }],
  ['C', {}],
  ['x', {}],
  ['4', {}],
) as fc.Arbitrary<[string, object]>;
const plainText = fc
  .string({ unit: fc.constantFrom('a', 'z', '0', '9', '-', '@', '=', '_', ' ', '/'), minLength: 1, maxLength: 6 })
  .map((text) => `u${text}`);
const valued = fc.oneof(
  plainText.map((text): [string, string, object] => ['E', text, { logFile: text }]),
  plainText.map((text): [string, string, object] => ['W', text, {}]),
  fc.constantFrom('none', '%', '^A').map((text): [string, string, object] => ['e', text, {}]),
);
const optionWords = fc
  .tuple(fc.array(flag, { maxLength: 3 }), fc.option(valued), fc.boolean())
  .filter(([flags, last]) => flags.length > 0 || last !== null)
  .map(([flags, last, apart]) => {
    const letters = flags.map(([letter]) => letter).join('');
    const says = Object.assign({}, ...flags.map(([, each]) => each), last?.[2]) as object;
    if (!last) return { words: [`-${letters}`], says };
    const [letter, value] = last;
    return { words: apart ? [`-${letters}${letter}`, value] : [`-${letters}${letter}${value}`], says };
  });
const anyWord = fc.oneof(plainText, fc.constantFrom('-l', '--', '-', '-L', '-o', 'ls', '-tt', '--sftp-server'));

test('options before and after the host, grouped, attached or apart, never change the command', () => {
  fc.assert(
    fc.property(
      fc.array(optionWords, { maxLength: 4 }),
      fc.array(optionWords, { maxLength: 4 }),
      fc.constantFrom('before', 'behind', 'nowhere'),
      plainText,
      fc.array(anyWord, { maxLength: 4 }),
      (before, behind, dashes, first, rest) => {
        const after = dashes === 'before' ? [] : behind;
        const command = [first, ...rest];
        const forwards = [...before, ...after].some(({ words }) => /^-[^W E]*W/.test(words[0]!));
        fc.pre(!forwards);
        const words = [
          ...before.flatMap((each) => each.words),
          ...(dashes === 'before' ? ['--'] : []),
          'root@web1',
          ...after.flatMap((each) => each.words),
          ...(dashes === 'behind' ? ['--'] : []),
          ...command,
        ];
        const call = parse(...words);
        const says = Object.assign({}, ...[...before, ...after].map((each) => each.says)) as Record<string, unknown>;
        const { logFile } = call;
        expect({ ...call, logFile: logFile && String(logFile) }).toMatchObject({ user: 'root', host: 'web1', ...says });
        expect(call.command.map(String)).toEqual(command);
      },
    ),
    { numRuns: 2000 },
  );
});

test('any words are a call, or are refused with a sentence', () => {
  const byte = fc.uint8Array({ min: 1, maxLength: 8 });
  const word = fc.oneof(
    anyWord.map((text) => Buffer.from(text)),
    byte,
    fc.constantFrom('web1', '-o', '-p', '-e').map((text) => Buffer.from(text)),
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 8 }), (words) => {
      try {
        const { action, host } = parseCall(words);
        expect(action === 'version' || host.length > 0).toBe(true);
      } catch (error) {
        expect(error).toBeInstanceOf(UsageError);
      }
    }),
    { numRuns: 2000 },
  );
});

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Machine, User } from './support.js';

let machine: Machine;
let user: User;
beforeAll(async () => {
  machine = await Machine.start();
  user = machine.pairedUser('web1', 'web2', 'web01', 'web03');
  user.call(['hosts', 'set', 'web1', 'role=frontend']);
});
afterAll(async () => {
  user[Symbol.dispose]();
  await machine[Symbol.asyncDispose]();
});

const commands = () =>
  user
    .call(['--help'])
    .stdout.split(/^Examples$/m)[0]!
    .match(/^ {2}\w+(?= {2,})/gm)!
    .map((word) => word.trim());

function strangersCall() {
  using stranger = new User();
  const { fingerprint } = machine.user.events(['agent', 'status', '--json'])[0]!;
  stranger.call(['hosts', 'add', 'web1', machine.url, '--pin', String(fingerprint)]);
  return stranger.call(['run', '-n', '--no-share', 'web1', '--', 'true']);
}

function changedKeyCall() {
  user.call(['hosts', 'add', 'changed', machine.url, '--pin', `SHA256:${'A'.repeat(43)}`]);
  return user.call(['run', '-n', '--no-share', 'changed', '--', 'true']);
}

const complete = (...words: string[]) =>
  user
    .call(['complete', '--', ...words])
    .stdout.split('\n')
    .filter(Boolean);

describe('help', () => {
  test('cuts no word on a terminal', () => {
    const { screen } = user.atTerminal(['attach', '--help'], []);
    const lines = screen.split('\r\n');
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(80);
    expect(screen).toMatch(/\r\n {34}.*caller has control\)\r\n/);
  });

  test('--help and --version answer on stdout with 0', () => {
    expect(user.call(['--help'])).toMatchObject({ code: 0, stderr: '' });
    expect(user.call(['--version'])).toEqual({
      code: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
      stderr: '',
    });
    expect(commands()).toContain('run');
  });

  test('commands, and the options of run, are grouped', () => {
    const headings = (text: string) => text.split('\n').filter((line) => /^[A-Z][\w ]+$/.test(line));
    expect(headings(user.call(['--help']).stdout)).toEqual([
      'Run a command',
      'Files',
      'Runs',
      'Hosts',
      'This machine',
      'Examples',
    ]);
    expect(headings(user.call(['run', '--help']).stdout)).toEqual([
      'Examples',
      'The program',
      'Its time',
      'Its output',
      'The run',
      'The link',
      'Many hosts',
    ]);
    expect(headings(user.call(['ps', '--help']).stdout)).toEqual(['Examples', 'Options']);
  });

  test('each command has examples, and those without prerequisites are run', { timeout: 600_000 }, () => {
    user.call(['run', '-d', '--name', 'nightly', 'web1', '--', 'sleep', '600']);
    for (const command of commands()) {
      const { code, stdout } = user.call([command, '--help']);
      expect(code).toBe(0);
      const examples = stdout
        .split(/^Examples?$/m)[1]!
        .trim()
        .split('\n\n')[0]!
        .split(/\n\s*/);
      for (const example of examples) {
        // These block, need a terminal, a file or another machine, or change this one.
        if (
          /^(rsync|GIT_SSH=|sftp)|^sendall (push|pull|agent|console|audit|--identity|identity new|pins rm|shell|attach|wait|result|logs|forget|pair|run local|ps$|doctor$|links stop|policy (check|test)|hosts (import|discover|install)|engine|completion fish)/.test(
            example,
          )
        )
          continue;
        if (example.startsWith('sendall kill'))
          user.call(['run', '-d', '--name', 'nightly', 'web1', '--', 'sleep', '600']);
        const ended = user.bash(example);
        expect([example, ended.code, ended.stderr.includes('sendall:')]).toEqual([example, 0, false]);
      }
    }
    user.call(['kill', 'nightly']);
  });
});

describe('slips', () => {
  test.each([
    [['rum', 'web1'], 'did you mean "sendall run"'],
    [['run', '--timout=1s', 'web1', '--', 'true'], 'did you mean --timeout'],
    [['run', 'wbe1', '--', 'true'], 'did you mean "web1"'],
    [['hosts', 'pin', 'web1'], 'did you mean "ping"'],
    [['agent', 'statsu'], 'did you mean "status"'],
    [['links', 'frob'], 'it has stop, serve'],
    [['completion', 'bsh'], 'did you mean "bash"'],
    [['run', 'web1', 'df', '-h'], 'put the command after it (sendall run web1 -- df -h)'],
    [['run', 'web1', 'ls', '-la', '--color=never'], '(sendall run web1 -- ls -la --color=never)'],
    [['run', 'uname', '-a'], 'the program and its options come after "--"'],
    [['ps', 'web1', '-z'], 'see "sendall ps --help"'],
    [['kill', '-9', 'nightly'], '-s 9'],
    [['web1', 'uname', '-a'], 'there is no command "web1": it is a host; did you mean "sendall run web1 -- uname -a"?'],
    [['web1', 'echo', "it's", 'a b'], String.raw`did you mean "sendall run web1 -- echo 'it'\''s' 'a b'"?`],
    [['web03'], 'did you mean "sendall run web03 -- COMMAND"?'],
    [['local', 'uname'], 'did you mean "sendall run local -- uname"?'],
  ])('%j is answered with %s', (words, hint) => {
    expect(user.call(words)).toMatchObject({ code: 200, stdout: '', stderr: expect.stringContaining(hint) });
  });
});

describe('an error is one sentence with the next step', () => {
  test.each([
    ['no agent to list', () => user.call(['ps']), 201, 'sendall ps web'],
    ['no agent', () => user.call(['run', 'local', '--', 'true']), 201, 'start one with "sendall agent"'],
    ['a wrong code', () => user.call(['pair', machine.url, '--code', '0'.repeat(26), '--name', 'x']), 202, 'check it'],
    ['a second agent', () => machine.user.call(['agent']), 200, 'sendall agent stop'],
    ['an unknown caller', () => strangersCall(), 202, 'pair'],
    ['a changed key', () => changedKeyCall(), 202, 'key'],
  ])('%s', (_name, call, code, hint) => {
    const ended = call();
    expect(ended.stderr).toMatch(/^sendall: [^\n]+\n$/);
    expect(ended.stderr).toContain(hint);
    expect(ended.code).toBe(code);
  });

  test('a port in use', async () => {
    using other = new User();
    expect(other.call(['agent', '--listen', machine.url])).toMatchObject({
      code: 200,
      stderr: expect.stringContaining('the port is in use'),
    });
  });
});

test('colour is for terminals, and NO_COLOR switches it off', () => {
  expect(user.call(['hosts']).stdout).not.toContain('\u001b');
  expect(user.bashAtTerminal('sendall hosts', []).screen).toContain('\u001b[1m');
  expect(user.bashAtTerminal('NO_COLOR=1 sendall hosts', []).screen).not.toContain('\u001b');
});

test('the limits of an agent are given by name, and stay through a restart', async () => {
  await using other = await Machine.start(
    ...['questions=3', 'linksPerPrincipal=5', 'spoolTotal=1G', 'keep=2h'].flatMap((word) => ['--limit', word]),
  );
  const limits = () => other.user.events(['agent', 'status', '--json'])[0]!.limits;
  const kept = { linksPerPrincipal: 5, spoolTotal: 2 ** 30, keep: 7_200_000 };
  expect(limits()).toMatchObject({ questions: 3, ...kept });
  expect(other.user.call(['agent', 'restart', '--limit', 'questions=4']).code).toBe(0);
  expect(limits()).toMatchObject({ questions: 4, ...kept });
  for (const [word, sentence] of [
    ['question=3', ': there is no limit "question": did you mean questions?'],
    ['maxRunning=3', ': there is no limit "maxRunning": did you mean running?'],
    ['nothing-like-it=3', ': there is no limit "nothing-like-it": see "sendall agent --help"'],
    ['questions', ': "questions" is not NAME=VALUE'],
    ['questions=0', ' questions: it must be above 0'],
    ['questions=1.5', ' questions: "1.5" is not a whole number'],
    ['spoolTotal=lots', ' spoolTotal: "lots" is not a size such as 65536, 64k, 10M or 1G'],
    ['keep=soon', ' keep: "soon" is not a duration such as 30s, 500ms, 10m or 2h'],
  ] as const)
    expect(other.user.call(['agent', '--limit', word])).toMatchObject({
      code: 200,
      stderr: `sendall: --limit${sentence}\n`,
    });
});

test('an agent can be restarted to listen elsewhere', async () => {
  await using other = await Machine.start();
  const words = ['agent', 'restart', '--listen', 'tls://127.0.0.1:0', '--listen', 'tls://127.0.0.1:0', '--json'];
  const [said] = other.user.events(words);
  expect((said!.listening as string[]).filter((url) => url.startsWith('tls:'))).toHaveLength(2);
});

test('callers are listed on the machine, and removed there by key', () => {
  using lost = machine.pairedUser('web1');
  const { name, fingerprint } = machine.user.events(['pair', '--list', '--json']).at(-1)!;
  expect(machine.user.call(['pair', '--list']).stdout).toContain(String(fingerprint));
  expect(machine.user.call(['pair', '--remove', String(name)])).toMatchObject({
    code: 200,
    stderr: expect.stringContaining('give the key of one'),
  });
  // Over a link that stays.
  lost.bash('until sendall run -n web1 -- true && sendall links --json | grep -q tls:; do :; done');
  const [removed] = machine.user.events(['pair', '--remove', String(fingerprint), '--json']);
  expect(removed).toMatchObject({ removed: fingerprint, ended: 1 });
  expect(lost.call(['run', '-n', 'web1', '--', 'true']).code).toBe(202);
  expect(user.call(['run', '-n', 'web1', '--', 'true']).code).toBe(0);
});

describe('completion', () => {
  test('offers commands, options, their values, hosts, sets and runs', () => {
    user.call(['run', '--name', 'completed', 'web1', '--', 'true']);
    expect(complete('ru')).toEqual(['run']);
    expect(complete('--identity', '')).toEqual(['default']);
    expect(complete('--identity', 'default', 'run', 'web1')).toEqual(['web1']);
    expect(complete('--identity=default', 'ru')).toEqual(['run']);
    expect(complete('run', '--identity', 'def')).toEqual(['default']);
    expect(complete('run', '--caps'.slice(0, 5))).toEqual(['--capture']);
    expect(complete('run', '--capture', '')).toEqual(['split', 'merged', 'exact', 'ordered']);
    expect(complete('run', 'web1')).toEqual(['web1']);
    expect(complete('run', 'web1,web0')).toEqual(['web1,web01', 'web1,web03']);
    expect(complete('attach', 'compl')).toEqual(['completed']);
    expect(complete('agent', 'sta')).toEqual(['status']);
    expect(complete('ssh', 'root@web0')).toEqual(['root@web01', 'root@web03']);
    expect(complete('ssh', 'web01', 'ls', '')).toEqual([':file']);
    expect(complete('ssh', '-')).toEqual(expect.arrayContaining(['-l', '-tt'.slice(0, 2), '--sftp-server']));
    expect(complete('ssh', '-O', '')).toEqual(['check', 'exit']);
    expect(complete('agent', '--limit', 'spool')).toEqual(['spool=', 'spoolTotal=', 'spoolPerPrincipal=']);
    expect(complete('agent', '--limit', 'spool=')).toEqual([]);
    expect(machine.user.call(['complete', '--', 'policy', 'test', 'own']).stdout).toBe('owner\n');
    expect(complete('policy', 'test', 'owner', 'ex')).toEqual(['exec']);
    expect(complete('policy', 'test', 'owner', 'exec', 'web1')).toEqual(['web1']);
    expect(complete('policy', 'test', 'owner', 'exec', 'web1', '')).toEqual([]);
    expect(complete('policy', 'check', '')).toEqual([':file']);
    expect(complete('kill', '-s', 'US')).toEqual(['USR1', 'USR2']);
    expect(complete('run', 'web1', '--', '')).toEqual([':file']);
    expect(complete('run', '--stdin=/etc/pass')).toEqual([':file']);
    expect(complete('run', '--capture=sp')).toEqual(['--capture=split']);
    expect(complete('run', '--capture', '=', 'sp')).toEqual(['split']);
  });

  test('works in bash', () => {
    const text = `source <(sendall completion bash)
      COMP_WORDS=(sendall run web0); COMP_CWORD=2; _sendall; echo "\${COMPREPLY[@]}"
      COMP_WORDS=(/bin/sendall-ssh me@web0); COMP_CWORD=1; _sendall /bin/sendall-ssh; echo "\${COMPREPLY[@]}"
      complete -p sendall`;
    expect(user.bash(text).stdout).toBe('web01 web03\nme@web01 me@web03\ncomplete -F _sendall sendall\n');
  });

  test.each([
    [
      'zsh -f',
      'sendall() { $NODE $SENDALL "$@" }; autoload -U compinit; compinit -u -D; source <(sendall completion zsh)',
    ],
    ['fish --no-config', 'function sendall; $NODE $SENDALL $argv; end; sendall completion fish | source'],
  ])('works in %s', (shell, setUp) => {
    const { code } = user.bashAtTerminal(`exec ${shell}`, [
      { send: `${setUp}; echo rea""dy\r` },
      { expect: 'ready\r\n' },
      { send: 'sendall run web0\t\t' },
      { expect: 'web03' },
      { send: '\u0015sendall agent sta\t--help | head -1 | tr a-z A-Z\r' },
      { expect: 'SERVE THIS MACHINE' },
      { send: 'echo --stdin=/etc/host; sendall run --stdin=/etc/hostn\t--help | head -1 | tr a-z A-Z; exit 7\r' },
      { expect: 'RUN A PROGRAM' },
    ]);
    expect(code).toBe(7);
  });
});

describe('doctor', () => {
  test('reports that all is well, or faults and how to mend them', () => {
    const well = user.call(['doctor', 'web1']);
    expect(well).toMatchObject({ code: 0, stderr: '' });
    for (const check of ['round trip', 'clock', 'key', 'version', 'keeper', 'links', 'limits', 'room', 'command'])
      expect(well.stdout).toContain(check);
    expect(well.stdout).toMatch(/limits .*4096 commands at once, 256 MiB of output a run, 4 GiB in all/);
    expect(well.stdout).toMatch(
      /links .*since it started, callers resumed a run \d+ times? and [\d.]+ \w+ were sent again/,
    );
    const ill = user.call(['doctor']);
    expect(ill.code).toBe(1);
    expect(ill.stdout).toContain('start one with "sendall agent"');
    expect(user.call(['doctor', 'nobody']).stdout).toMatch(
      /link .*no host "nobody"\n +-> see "sendall hosts", or pair/,
    );
    const env = { SENDALL_HOME: join(user.home, 'identity.pem') };
    expect(user.call(['doctor'], { env }).stdout).toMatch(/^wrong +home .*is not a folder\n +-> set SENDALL_HOME/);
    expect(user.call(['run', 'local', '--', 'true'], { env })).toMatchObject({
      code: 201,
      stderr: expect.stringMatching(/ENOTDIR; a part of its path is a file: set SENDALL_HOME/),
    });
    expect(user.events(['doctor', 'web1', '--json'])).toContainEqual(
      expect.objectContaining({ event: 'check', host: 'web1', check: 'command', ok: true }),
    );
  });
});

describe('agent install --systemd', () => {
  test('writes units whose keeper outlives a restart of the agent', async () => {
    using owner = new User();
    const folder = mkdtempSync(join(tmpdir(), 'units-'));
    const said = owner.call(['agent', 'install', '--systemd', '--into', folder]);
    expect(said.stdout).toContain(`wrote ${folder}/sendall-agent.service`);
    const [agentUnit, keeperUnit] = ['agent', 'keeper'].map((name) =>
      readFileSync(join(folder, `sendall-${name}.service`), 'utf8'),
    );
    expect(agentUnit).toContain('KillMode=process');
    expect(keeperUnit).toMatch(/Delegate=yes[\s\S]*OOMPolicy=continue/);
    const program = (unit: string): string[] =>
      unit
        .match(/^ExecStart=(.*)$/m)![1]!
        .match(/"(?:\\.|[^"\\])*"/g)!
        .map((word) => word.slice(1, -1).replace(/\\(.)/g, '$1').replaceAll('%%', '%').replaceAll('$$', '$'));
    const start = (unit: string) => {
      const [file, ...words] = program(unit);
      return spawn(file!, words, { env: owner.env(), stdio: 'ignore' });
    };
    const keeper = start(keeperUnit!);
    await listening(join(owner.home, 'keeper.sock'));
    let agent = start(agentUnit!);
    await listening(join(owner.home, 'agent.sock'));
    expect(owner.events(['agent', 'status', '--json'])[0]).toMatchObject({ pid: agent.pid, keeperPid: keeper.pid });
    owner.call(['run', '-d', '--name', 'kept', 'local', '--', 'sh', '-c', 'sleep 1; exit 8']);
    agent.kill('SIGTERM');
    await once(agent, 'exit');
    agent = start(agentUnit!);
    await listening(join(owner.home, 'agent.sock'));
    expect(owner.call(['wait', 'kept']).code).toBe(8);
    agent.kill('SIGTERM');
    keeper.kill('SIGKILL');
    await Promise.all([once(agent, 'exit'), once(keeper, 'exit')]);
  });

  test('as --system, it is for root alone', () => {
    using owner = new User();
    const folder = mkdtempSync(join(tmpdir(), 'units-'));
    const { code, stdout, stderr } = owner.call(['agent', 'install', '--system', '--into', folder]);
    if (process.getuid!() === 0) expect([code, stdout]).toEqual([0, expect.stringContaining('sendall-agent.service')]);
    else expect([code, stderr]).toEqual([200, expect.stringContaining('sudo sendall agent install --system')]);
  });

  test('is accepted by systemd, if installed', () => {
    using owner = new User();
    const folder = mkdtempSync(join(tmpdir(), 'units-'));
    owner.call(['agent', 'install', '--systemd', '--into', folder, '--name', '100% $HOME "q"']);
    const verify = spawnSync('systemd-analyze', [
      'verify',
      join(folder, 'sendall-agent.service'),
      join(folder, 'sendall-keeper.service'),
    ]);
    if (!verify.error) expect([verify.status, verify.stderr.toString()]).toEqual([0, '']);
  });
});

/** Resolves when a process accepts connections there. */
async function listening(path: string): Promise<void> {
  for (;;) {
    const socket = connect(path);
    const [event] = await Promise.race([
      once(socket, 'connect').then(() => ['connect']),
      once(socket, 'error').then(
        () => ['error'],
        () => ['error'],
      ),
    ]).catch(() => ['error']);
    socket.destroy();
    if (event === 'connect') return;
  }
}

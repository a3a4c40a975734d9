/** A command of a caller who is no owner, the whole way: from the policy file through agent and keeper to the process. */
import { mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { connect, pair, resolveHome, type Home, type Host } from 'sendall';
import { Agent } from '../../dist/agent/agent.js';
import { KeeperGate } from '../../dist/agent/gate.js';
import { versionOne } from '../../dist/keeper/system/hierarchies.js';
import { rootDescribe } from '../../../../test/support/root.js';
import { removeHome } from '../remove-home.js';

const POLICY = `
version: 1
rules:
  - id: shell
    who: [alice]
    verbs: [sh]
    run-as: daemon
    cwd: [/]
    limits: {files: 50, cpu: 10s, runs: 8}
  - id: trusted
    who: [alice]
    verbs: [exec]
    program: ${realpathSync('/usr/bin/id')}
    args: ['-u']
    run-as: root
    cwd: [/]
    trusts-program: yes
  - id: small
    who: [alice]
    verbs: [exec]
    program: ${realpathSync('/usr/bin/head')}
    args: ['-c', {one-of: ['300000000', '1']}, /dev/zero]
    run-as: daemon
    cwd: [/]
    limits: {output: 1KiB}
`;

let folder: string;
let agent: Agent;
let alice: Host;
let owner: Host;
const homeIn = (name: string): Home => resolveHome({ SENDALL_HOME: join(folder, name) });

rootDescribe('a command under a rule', () => {
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sendall-run-as-'));
    const home = homeIn('host');
    agent = new Agent(
      { home, listen: ['tls://127.0.0.1:0'], keeperIdleExit: 200 },
      new KeeperGate(home, { idleExitMs: 200 }),
    );
    await agent.open();
    writeFileSync(home.policyFile, POLICY, { mode: 0o600 });
    owner = await connect('local', { home });
    const url = agent.listening.find((each) => each.startsWith('tls:'))!;
    const hers = homeIn('alice');
    await pair(hers, url, { code: agent.issueCode({ principal: 'alice', roles: ['deploy'] }).code, name: 'host' });
    alice = await connect('host', { home: hers });
  });
  afterAll(async () => {
    await alice.close();
    await owner.ask('stop', { runs: true });
    await owner.close();
    await agent.stopped;
    for (const name of readdirSync(folder)) await removeHome(join(folder, name), 0);
    rmSync(folder, { recursive: true, force: true });
  });

  const sh = (script: string, more: object = {}) => alice.sh(script, { cwd: '/', reject: false, ...more });

  test('is its user’s, without new privileges, within the rule’s limits', async () => {
    const script = 'id -un; grep NoNewPrivs /proc/self/status | cut -f2; ulimit -n; ulimit -t';
    expect((await sh(script)).stdout).toBe('daemon\n1\n50\n10\n');
  });

  test('reaches neither the agent’s and the keeper’s sockets, keys, files and memory, nor their signals', async () => {
    const { config, state, agentSocket, keeperSocket } = homeIn('host');
    const { keeperPid } = await owner.ask<{ keeperPid: number }>('status');
    const reach = [
      `ls ${config}`,
      `ls ${state}`,
      `cat ${config}/policy.yaml`,
      ...[agentSocket, keeperSocket].map(
        (path) => `python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect("${path}")'`,
      ),
      ...[process.pid, keeperPid].flatMap((pid) => [
        `cat /proc/${pid}/mem`,
        `cat /proc/${pid}/environ`,
        `ls /proc/${pid}/fd`,
        `kill -0 ${pid}`,
        `prlimit --pid ${pid} --nofile=10:10`,
        `echo 0 > /proc/${pid}/oom_score_adj`,
      ]),
    ];
    const { stdout } = await sh(
      reach.map((each) => `{ ${each}; } > /dev/null 2>&1 && echo '${each.replaceAll("'", '')}'`).join('\n'),
    );
    expect(stdout).toBe('');
  });

  test('ends at the rule’s limit on output, whatever the caller asks for', async () => {
    const head = (bytes: string) => alice.run(['head', '-c', bytes, '/dev/zero'], { cwd: '/', reject: false });
    expect((await head('300000000')).outcome).toBe('limits');
    expect((await head('1')).outcome).toBe('ok');
  });

  test('is root’s only where the rule trusts its program, and then with these words alone', async () => {
    const id = (...words: string[]) => alice.run(['id', ...words], { cwd: '/', reject: false });
    expect((await id('-u')).stdout).toBe('0\n');
    for (const words of [[], ['-g'], ['-u', 'root']]) expect((await id(...words)).outcome).toBe('refused');
    for (const runAs of ['root', 'bin'])
      expect(await sh('id', { runAs })).toMatchObject({ outcome: 'refused', refusal: 'policy' });
  });

  test.runIf(versionOne('memory'))('ends where it needs more memory than it asked for', async () => {
    const fill = (memory: number) => sh('python3 -c "x = bytearray(100 << 20)"', { limits: { memory } });
    expect((await fill(2 ** 29)).outcome).toBe('ok');
    expect(await fill(2 ** 26)).toMatchObject({ outcome: 'limits', cause: 'oom' });
  });
});

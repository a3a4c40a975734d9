/** The agent's side of the keeper, while keepers come and go. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { resolveHome, type Home } from 'sendall';
import { KeeperGate } from '../../dist/agent/gate.js';
import { logFolder } from '../../dist/log/layout.js';
import { linesFrom } from '../../dist/log/reading.js';
import { removeHome } from '../remove-home.js';

let folder: string;
let home: Home;
let gate: KeeperGate;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'agent-gate-'));
  home = resolveHome({ SENDALL_HOME: join(folder, 'home') });
  gate = new KeeperGate(home, { idleExitMs: 200 });
});
afterEach(async () => {
  await gate.close();
  await removeHome(home.state);
  rmSync(folder, { recursive: true, force: true });
});

const ask = async (what: string): Promise<Record<string, unknown>> => {
  const answer = await gate.ask((opId) => ({ type: 'ASK', alias: 0, opId, what }));
  return answer.type === 'ANSWER' && answer.body ? (JSON.parse(answer.body) as Record<string, unknown>) : {};
};
const tell = (what: string): void =>
  gate.tell({ type: 'NOTE', alias: 0, kind: 'note', body: JSON.stringify({ what }) });

/** What the notes in the log say. */
async function noted(): Promise<unknown[]> {
  const { size } = await ask('log');
  const { lines } = linesFrom(logFolder(home), 0, size as number);
  const records = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  return records.filter(({ kind }) => kind === 'note').map(({ what }) => what);
}

test('what is told to a keeper that makes room for another one is told to that one, once', async () => {
  await gate.open();
  tell('before');
  await ask('status');
  const first = gate.pid;
  // It has no command, so it ends at once; word of its end comes behind its answer.
  await ask('retire');
  expect(gate.pid).toBe(first);
  tell('in between');
  expect(await noted()).toEqual(['before', 'in between']);
  expect(gate.pid).not.toBe(first);
  tell('after');
  expect(await noted()).toEqual(['before', 'in between', 'after']);
});

test('what is told before there is a keeper is told to it', async () => {
  tell('early');
  expect(await noted()).toEqual(['early']);
});

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

  test('each command has examples, and those without prerequisites are run', () => {
    user.call(['run', '-d', '--name', 'nightly', 'web1', '--', 'sleep', '60']);
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

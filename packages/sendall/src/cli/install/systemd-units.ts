/** The agent as a service of systemd: its two units. */
import { mkdirSync, realpathSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { resolveHome, type Home } from '../../home.js';
import type { AgentOptions } from '../../index.js';

/** Variables that decide where sendall keeps its files: the service must use the same ones as its user. */
const PLACES = ['HOME', 'SENDALL_HOME', 'XDG_CONFIG_HOME', 'XDG_STATE_HOME', 'XDG_RUNTIME_DIR'];

interface Installation {
  /** The node program and sendall's two programs, absolute. */
  readonly node: string;
  readonly sendall: string;
  readonly keeper: string;
  readonly home: Home;
  readonly env: NodeJS.ProcessEnv;
  /** Words after "sendall agent". */
  readonly words: readonly string[];
  readonly keeperLimits: NonNullable<AgentOptions['keeperLimits']>;
  /** A unit of one user rather than the system. */
  readonly user: boolean;
}

/** One word of a unit file. Source: systemd.service(5), "Command lines"; systemd.unit(5), "Specifiers". */
function quoted(word: string): string {
  return `"${word.replace(/[\\"]/g, '\\$&').replaceAll('%', '%%').replaceAll('$', '$$$$')}"`;
}

function environment(env: NodeJS.ProcessEnv): string[] {
  return PLACES.flatMap((name) =>
    env[name] ? [`Environment="${name}=${env[name].replace(/[\\"]/g, '\\$&').replaceAll('%', '%%')}"`] : [],
  );
}

function text(...lines: string[]): string {
  return `${lines.join('\n')}\n`;
}

/**
 * File names and texts. The keeper, which owns the commands, has its own unit: restarting the agent's unit does not
 * affect it, and stopping the keeper's unit ends the commands.
 */
function systemdUnits({
  node,
  sendall,
  keeper,
  home,
  env,
  words,
  keeperLimits,
  user,
}: Installation): Record<string, string> {
  const wantedBy = user ? 'default.target' : 'multi-user.target';
  const config = JSON.stringify({ home, limits: { idleExitMs: 0, ...keeperLimits } });
  return {
    'sendall-keeper.service': text(
      '[Unit]',
      'Description=sendall keeper: owns running commands and their output',
      '',
      '[Service]',
      `ExecStart=${[node, keeper, config].map(quoted).join(' ')}`,
      ...environment(env),
      '# Its commands live in groups below its own.',
      'Delegate=yes',
      '# One command that takes too much memory must not end the others.',
      'OOMPolicy=continue',
      'KillMode=control-group',
      'TimeoutStopSec=10',
      'Restart=on-failure',
      'TasksMax=infinity',
      'LimitNOFILE=524288',
      '',
      '[Install]',
      `WantedBy=${wantedBy}`,
    ),
    'sendall-agent.service': text(
      '[Unit]',
      'Description=sendall agent: lets callers run commands on this machine',
      'Wants=sendall-keeper.service',
      ...(user ? ['After=sendall-keeper.service'] : ['After=network.target sendall-keeper.service']),
      '',
      '[Service]',
      `ExecStart=${[node, sendall, 'agent', ...words].map(quoted).join(' ')}`,
      ...environment(env),
      '# A keeper that the agent had to start itself is left alone.',
      'KillMode=process',
      'Restart=on-failure',
      'RestartSec=1',
      'LimitNOFILE=524288',
      '',
      '[Install]',
      `WantedBy=${wantedBy}`,
    ),
  };
}

/** Whether units of this process's user are for that user alone. */
export const isUserUnit = (): boolean => process.getuid?.() !== 0;

/** Where units of this process's user belong. */
export function unitFolder(env: NodeJS.ProcessEnv = process.env): string {
  if (!isUserUnit()) return '/etc/systemd/system';
  return join(env.XDG_CONFIG_HOME || join(env.HOME ?? '', '.config'), 'systemd/user');
}

/** What the agent's unit starts. */
export interface UnitOptions {
  /** @default {@link unitFolder} */
  readonly folder?: string | undefined;
  /** Words after "sendall agent". */
  readonly words: readonly string[];
  /** Limits for the keeper from its start, as the agent's words have them. */
  readonly keeperLimits?: NonNullable<AgentOptions['keeperLimits']>;
  /** The Node program and sendall's. @default this process's */
  readonly program?: readonly [node: string, sendall: string];
}

/** Writes both units and returns their paths. */
export function writeUnits({ folder = unitFolder(), words, keeperLimits = {}, program }: UnitOptions): string[] {
  const [node, sendall] = program ?? [process.execPath, realpathSync(process.argv[1]!)];
  const units = systemdUnits({
    node,
    sendall,
    keeper: join(dirname(sendall), '../dist/keeper/main.js'),
    home: resolveHome(),
    env: process.env,
    words,
    keeperLimits,
    user: isUserUnit(),
  });
  mkdirSync(folder, { recursive: true });
  return Object.entries(units).map(([file, text]) => {
    const path = join(folder, file);
    writeFileSync(path, text, { mode: 0o644 });
    return path;
  });
}

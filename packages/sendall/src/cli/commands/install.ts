/** `sendall agent install --systemd`. */
import { mkdirSync, realpathSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { UsageError } from '../../errors.js';
import { resolveHome } from '../../home.js';
import type { Arguments } from '../words/command.js';
import { engineFilesOf, engineWords } from '../words/engine-options.js';
import { answer, json } from '../show/print.js';
import { systemdUnits } from './systemd-units.js';

/** Writes the units and prints the next steps. It starts nothing. */
export function install(args: Arguments): number {
  if (!args.on('systemd')) throw new UsageError('agent install knows systemd only: sendall agent install --systemd');
  const user = process.getuid?.() !== 0;
  const { env } = process;
  const folder =
    args.text('into') ??
    (user ? join(env.XDG_CONFIG_HOME || join(env.HOME ?? '', '.config'), 'systemd/user') : '/etc/systemd/system');
  const sendall = realpathSync(process.argv[1]!);
  const name = args.text('name');
  const units = systemdUnits({
    node: process.execPath,
    sendall,
    keeper: join(dirname(sendall), '../dist/keeper/main.js'),
    home: resolveHome(),
    env,
    words: [
      ...args.texts('listen').flatMap((url) => ['--listen', url]),
      ...(name === undefined ? [] : ['--name', name]),
      ...engineWords(engineFilesOf(args)),
    ],
    user,
  });
  mkdirSync(folder, { recursive: true });
  const written = Object.entries(units).map(([file, text]) => {
    const path = join(folder, file);
    writeFileSync(path, text, { mode: 0o644 });
    return path;
  });
  if (args.on('json')) json({ written });
  else {
    for (const path of written) answer(`wrote ${path}`);
    const systemctl = user ? 'systemctl --user' : 'systemctl';
    answer('now type:');
    answer(`  ${systemctl} daemon-reload`);
    answer(`  ${systemctl} enable --now sendall-keeper sendall-agent`);
    if (user) answer('  loginctl enable-linger    (so that it runs while you are logged out)');
  }
  return 0;
}

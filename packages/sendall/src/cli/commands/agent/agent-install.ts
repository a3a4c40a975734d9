/** `sendall agent install --systemd` and `--system`. */
import { UsageError } from '../../../errors.js';
import type { Arguments } from '../../words/command.js';
import { engineFilesOf, engineWords } from '../../words/engine-options.js';
import { isUserUnit, writeUnits } from '../../install/systemd-units.js';
import { answer, json } from '../../show/print.js';
import { agentLimits } from './agent-limits.js';

/** Writes the units and prints the next steps. It starts nothing. */
export function install(args: Arguments): number {
  const isForSystem = args.on('system');
  if (!args.on('systemd') && !isForSystem)
    throw new UsageError('agent install knows systemd only: sendall agent install --systemd');
  if (isForSystem && isUserUnit())
    throw new UsageError('only root can set up an agent that is root: sudo sendall agent install --system');
  const name = args.text('name');
  const limits = args.texts('limit');
  const { keeperLimits = {} } = agentLimits(limits);
  const written = writeUnits({
    folder: args.text('into'),
    keeperLimits,
    words: [
      ...args.texts('listen').flatMap((url) => ['--listen', url]),
      ...limits.flatMap((word) => ['--limit', word]),
      ...(name === undefined ? [] : ['--name', name]),
      ...engineWords(engineFilesOf(args)),
    ],
  });
  if (args.on('json')) json({ written });
  else {
    for (const path of written) answer(`wrote ${path}`);
    const user = isUserUnit();
    const systemctl = user ? 'systemctl --user' : 'systemctl';
    answer('now type:');
    answer(`  ${systemctl} daemon-reload`);
    answer(`  ${systemctl} enable --now sendall-keeper sendall-agent`);
    if (user) answer('  loginctl enable-linger    (so that it runs while you are logged out)');
  }
  return 0;
}

/** The command that takes ssh's place for programs that call it. */
import type { Command } from '../words/command.js';
import { sshOptions } from '../ssh/options.js';
import { ssh } from '../ssh/ssh.js';

export const sshCommand: Command = {
  name: 'ssh',
  usage: '[OPTIONS] [USER@]HOST [COMMAND…]',
  summary: 'a command or a terminal as ssh has it, for programs that call ssh; sendall-ssh is the same in one word',
  examples: [
    "sendall ssh web1 'df -h | tail -1'",
    'rsync -e sendall-ssh -a site/ web1:site/',
    'GIT_SSH=sendall-ssh git clone web1:project.git',
    'sftp -S sendall-ssh web1',
  ],
  options: sshOptions,
  complete: 'destination',
  parsesItself: true,
  run: async ({ rest = [] }) => await ssh(rest),
};

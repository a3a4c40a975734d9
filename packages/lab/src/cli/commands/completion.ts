/** `wirelab completion`: prints a completion script for a shell. */
import { oneOf, UsageError, type Command } from '../command.js';
import { SCRIPTS } from '../completion.js';

const shells = Object.keys(SCRIPTS);

export const command: Command = {
  name: 'completion',
  usage: ['bash | zsh | fish'],
  summary: 'print a completion script for your shell',
  about: [],
  examples: ['source <(wirelab completion bash)', 'wirelab completion fish > ~/.config/fish/completions/wirelab.fish'],
  options: {},
  complete: shells,
  run(args) {
    const [name, ...rest] = args.words;
    if (name === undefined || rest.length > 0)
      throw new UsageError(`completion takes a shell, ${shells.join(', ')}: wirelab completion bash`);
    process.stdout.write(SCRIPTS[oneOf('the shell', name, shells)]!);
    return Promise.resolve(0);
  },
};

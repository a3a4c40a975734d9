/** The commands of `sendall`, in the order and under the headings of the help. */
import type { Command } from './words/command.js';

/** Loads a command on demand. */
type Load = () => Promise<Command>;

const byGroup: Readonly<Record<string, Readonly<Record<string, Load>>>> = {
  'Run a command': {
    run: async () => (await import('./commands/run.js')).run,
    sh: async () => (await import('./commands/run.js')).sh,
    shell: async () => (await import('./commands/shell.js')).shell,
    ssh: async () => (await import('./commands/ssh.js')).sshCommand,
    console: async () => (await import('./commands/console.js')).consoleCommand,
  },
  Files: {
    push: async () => (await import('./commands/transfers.js')).push,
    pull: async () => (await import('./commands/transfers.js')).pull,
  },
  Runs: {
    ps: async () => (await import('./commands/runs.js')).ps,
    attach: async () => (await import('./commands/attach.js')).attach,
    logs: async () => (await import('./commands/attach.js')).logs,
    wait: async () => (await import('./commands/runs.js')).wait,
    result: async () => (await import('./commands/runs.js')).result,
    diff: async () => (await import('./commands/diff.js')).diff,
    kill: async () => (await import('./commands/runs.js')).kill,
    forget: async () => (await import('./commands/runs.js')).forget,
  },
  Hosts: {
    hosts: async () => (await import('./commands/hosts/hosts.js')).hosts,
    pair: async () => (await import('./commands/hosts/pair.js')).pair,
    identity: async () => (await import('./commands/hosts/identity.js')).identity,
    pins: async () => (await import('./commands/hosts/pins.js')).pins,
    engine: async () => (await import('./commands/engine.js')).engine,
    audit: async () => (await import('./commands/audit.js')).audit,
    links: async () => (await import('./commands/links.js')).links,
    doctor: async () => (await import('./commands/doctor.js')).doctor,
  },
  'This machine': {
    agent: async () => (await import('./commands/agent/agent.js')).agent,
    policy: async () => (await import('./commands/policy.js')).policy,
    completion: async () => (await import('./commands/completion.js')).completion,
  },
};

export const commands: Readonly<Record<string, Load>> = Object.assign({}, ...Object.values(byGroup));

export const allCommands = async (): Promise<readonly Command[]> =>
  await Promise.all(Object.values(commands).map(async (load) => await load()));

/** The headings and their commands. */
export const commandGroups = async (): Promise<ReadonlyMap<string, readonly Command[]>> => {
  const groups = Object.entries(byGroup).map(async ([heading, group]) => {
    const loaded = await Promise.all(Object.values(group).map(async (load) => await load()));
    return [heading, loaded] as const;
  });
  return new Map(await Promise.all(groups));
};

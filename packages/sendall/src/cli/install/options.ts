/** The options of `hosts install` and `hosts uninstall`, apart from their code, which other commands do not load. */
import { under } from '../words/command.js';

export const installOptions = under('Installing (install, uninstall)', {
  name: { value: 'NAME', help: 'the host’s name here; for several, a set of as many (default: the name ssh gets)' },
  system: { help: 'for the whole machine, as root or through sudo -n (default: for the user of the login)' },
  upgrade: { help: 'replace what is installed by this version; running commands go on' },
  port: { value: 'N', help: 'the agent’s TCP port (default 7433; 0: any that is free)' },
  listen: { value: 'URL', help: 'where the agent listens (default tls://0.0.0.0:PORT)' },
  address: {
    value: 'ADDR',
    help: 'where this machine finds the agent, HOST or tls://HOST:PORT (default: as ssh does)',
  },
  ssh: { value: 'COMMAND', help: 'ssh and its options, such as "ssh -p 2222" (default: ssh)' },
  'at-once': { value: 'N', help: 'this many hosts at a time (default 16)' },
  timeout: { value: 'TIME', help: 'for one host (default 10m; 0: no limit)' },
  runs: { help: 'with uninstall: end running commands' },
  purge: { help: 'with uninstall: remove keys, past runs and their output, too' },
});

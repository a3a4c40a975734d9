/** Every view of the console's page with something to show in it, for pictures and for tests of how the views look. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Site } from './site.js';

export const VIEWS = ['hosts', 'run', 'runs', 'output', 'fleet', 'fleet-hosts', 'terminal', 'policy', 'log'] as const;

export interface FurnishedView {
  readonly place: string;
  /** What is there when the view is complete. */
  readonly until: string;
}
export type Furnished = Readonly<Record<(typeof VIEWS)[number], FurnishedView>>;

const POLICY = `version: 1
rules:
  - id: restart-web
    who: [role:deploy, alice]
    verbs: [exec]
    program: /usr/bin/true
    args: [{one-of: [restart, status]}, {one-of: [web.service, worker.service]}]
    run-as: nobody
    cwd: [/, /srv]
  - id: own-runs
    who: [role:deploy, alice]
    verbs: [list, signal, forget]
`;

const BUILD = `printf 'compiling 212 files\\n'; printf 'warning: 3 deprecated calls\\n' >&2
for part in parser writer server; do printf '\\033[1m%s\\033[0m \\033[32mok\\033[0m\\n' $part; done
printf 'linked in 4.2 s\\n'`;

/** Runs something of each kind on the site's hosts, web1 and web2 among them. */
export async function furnish(site: Site): Promise<Furnished> {
  writeFileSync(join(site.user.home, 'policy.yaml'), POLICY, { mode: 0o600 });
  const one = await site.ask('run', {
    targets: 'web1',
    argv: ['sh', '-c', BUILD],
    options: { name: 'build', capture: 'ordered' },
  });
  const place = join(site.user.home, 'one-differs');
  const differs = `printf 'nginx/1.26.2\\nworkers 8\\n'
if mkdir '${place}' 2>/dev/null; then printf 'tls 1.2\\n'; echo 'tls 1.3 is off' >&2; exit 3; fi; printf 'tls 1.3\\n'`;
  const fleet = await site.ask('run', { targets: 'local,web1,web2', script: differs, options: { name: 'versions' } });
  const shell = await site.ask('run', {
    targets: 'web1',
    argv: ['sh', '-c', SCREEN],
    options: { pty: { cols: 80, rows: 24 }, name: 'screen' },
  });
  return {
    hosts: { place: 'hosts', until: '.list-row' },
    run: { place: 'run', until: 'main .btn.primary' },
    runs: { place: 'runs', until: '.list-row' },
    output: { place: `runs/web1/${one.runId}`, until: 'text=linked in 4.2 s' },
    fleet: { place: `fleet/${fleet.runId}`, until: '.diff-added' },
    'fleet-hosts': { place: `fleet/${fleet.runId}?show=hosts`, until: '.fleet-hosts .list-row' },
    terminal: { place: `terminal/web1/${shell.runId}?control=1`, until: '.xterm-rows >> text=load average' },
    policy: { place: 'policy/local', until: '.rule' },
    log: { place: 'policy/web1?show=log', until: '.record' },
  };
}

/** A screen with colours and a bar, as of a program that watches a machine. */
const SCREEN = String.raw`printf '\033[?1049h\033[H\033[2J'
printf '\033[7m top - 11:20:07 up 41 days,  load average: 0.42, 0.38, 0.31              \033[0m\n'
printf '\033[1mTasks:\033[0m 212 total, \033[32m1 running\033[0m, 211 sleeping, \033[31m0 zombie\033[0m\n'
printf 'cpu [\033[32m||||||||||\033[34m||||\033[0m                          ] 28%%\n'
printf 'mem [\033[33m||||||||||||||||||\033[0m                      ] 46%%\n\n'
printf '\033[30;46m    PID USER       CPU%%  MEM%%   TIME+  COMMAND                        \033[0m\n'
printf '   1042 www-data    7.2   1.4   3:12.40 nginx: worker process\n'
printf '   2210 postgres    4.8  12.0  41:02.11 postgres: checkpointer\n'
printf '   3391 root        0.7   0.2   0:08.75 sendall agent\n'
printf '\033[38;2;120;120;220m   9001 build       0.3   0.1   0:00.42 make -j8\033[0m\n'
exec sleep 3600`;

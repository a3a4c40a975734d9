/** The work of each row: what is prepared before each run, and the tool's own words. */
import { randomBytes } from 'node:crypto';
import { closeSync, ftruncateSync, mkdirSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { hasProgram, prepare, type Carrier } from './carriers.js';

/** A tool's words and environment for one run. */
export interface Call {
  readonly words: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
}

export interface Job {
  /** The program that must be there. */
  readonly program: string;
  /** What is there before the first run of anything. */
  readonly setUp?: () => void;
  /** Before each run, not timed. */
  readonly before?: (carrier: Carrier, target: string) => void;
  readonly call: (carrier: Carrier, target: string) => Call;
  /** Timed together as one run: short tools need more than one. */
  readonly times?: number;
  /** Bytes that pass, where the row is a speed. */
  readonly bytes?: number;
}

interface Sizes {
  readonly folder: string;
  readonly mib: number;
  readonly files: number;
}

/** Files of 1 to 40 KB in folders of a hundred. */
function makeTree(folder: string, files: number) {
  for (let i = 0; i < files; i++) {
    const inside = `${folder}/${Math.floor(i / 100)}`;
    if (i % 100 === 0) mkdirSync(inside, { recursive: true });
    writeFileSync(`${inside}/file-${i}`, randomBytes(1024 + ((i * 7919) % (39 * 1024))));
  }
}

function makeFile(file: string, mib: number) {
  const block = randomBytes(1024 * 1024);
  const fd = openSync(file, 'w');
  for (let i = 0; i < mib; i++) writeSync(fd, block);
  ftruncateSync(fd, mib * 1024 * 1024);
  closeSync(fd);
}

/** Every job by the name of its row. */
export function jobsIn({ folder, mib, files }: Sizes): Record<string, Job> {
  const tree = `${folder}/tree`;
  const few = `${folder}/few`;
  const file = `${folder}/file`;
  const source = `${folder}/source`;
  const once = new Set<string>();
  const making = (what: string, make: () => void) => () => {
    if (!once.has(what)) make();
    once.add(what);
  };
  const withTree = making('tree', () => makeTree(tree, files));
  const withFile = making('file', () => makeFile(file, mib));
  const withFew = making('few', () => makeTree(few, Math.ceil(files / 4)));
  const git = (...words: readonly string[]) => ['git', '-c', 'gc.auto=0', '-c', 'maintenance.auto=false', ...words];
  const withSource = making('source', () => {
    withTree();
    prepare(folder, 'git', 'init', '-q', '-b', 'main', source);
    for (let commit = 0; commit < 5; commit++) {
      prepare(source, 'cp', '-r', `${tree}/${commit}`, '.');
      prepare(source, 'git', 'add', '-A');
      prepare(source, ...git('-c', 'user.name=b', '-c', 'user.email=b@b', 'commit', '-q', '-m', `commit ${commit}`));
    }
  });
  const fresh = (_: Carrier, target: string) => rmSync(target, { recursive: true, force: true });
  const gitEnv = ({ program, env }: Carrier) => ({ ...env, GIT_SSH: program, GIT_SSH_VARIANT: 'ssh' });
  const bare = (_: Carrier, target: string) => {
    rmSync(target, { recursive: true, force: true });
    prepare(folder, 'git', 'init', '-q', '--bare', target);
  };
  const rsync = ({ program, host, env }: Carrier, target: string): Call => ({
    words: ['rsync', '-a', '-e', program, `${tree}/`, `${host}:${target}/`],
    env,
  });
  const batch = (name: string, text: string) => {
    writeFileSync(`${folder}/${name}`, text);
    return `${folder}/${name}`;
  };
  return {
    'rsync-push': { program: 'rsync', setUp: withTree, before: fresh, call: rsync },
    'rsync-same': {
      program: 'rsync',
      setUp: withTree,
      before: (_, target) => prepare(folder, 'rsync', '-a', `${tree}/`, `${target}/`),
      call: rsync,
      times: 3,
    },
    'git-clone': {
      program: 'git',
      setUp: withSource,
      before: fresh,
      call: (carrier, target) => ({
        words: git('clone', '-q', `${carrier.host}:${source}`, target),
        env: gitEnv(carrier),
      }),
    },
    'git-push': {
      program: 'git',
      setUp: withSource,
      before: bare,
      call: (carrier, target) => ({
        words: git('-C', source, 'push', '-q', `${carrier.host}:${target}`, 'main'),
        env: gitEnv(carrier),
      }),
    },
    'git-fetch': {
      program: 'git',
      setUp: withSource,
      call: (carrier) => ({
        words: git('-C', source, 'fetch', '-q', `${carrier.host}:${source}`, 'main'),
        env: gitEnv(carrier),
      }),
      times: 5,
    },
    'sftp-put': {
      program: 'sftp',
      setUp: withFile,
      before: fresh,
      call: ({ program, host, env }, target) => ({
        words: ['sftp', '-q', '-S', program, '-b', batch('put', `put ${file} ${target}\n`), host],
        env,
      }),
      bytes: mib * 1024 * 1024,
    },
    'sftp-get': {
      program: 'sftp',
      setUp: withFile,
      before: fresh,
      call: ({ program, host, env }, target) => ({
        words: ['sftp', '-q', '-S', program, '-b', batch('get', `get ${file} ${target}\n`), host],
        env,
      }),
      bytes: mib * 1024 * 1024,
    },
    'scp-many': {
      program: 'scp',
      setUp: withFew,
      before: fresh,
      call: ({ program, host, env }, target) => ({
        words: ['scp', '-q', '-r', '-S', program, few, `${host}:${target}`],
        env,
      }),
    },
    'ansible-ping': {
      program: 'ansible',
      call: ({ program, host, env }) => ({
        words: ['ansible', 'all', '-i', `${host},`, '-m', 'ping'],
        env: { ...env, ANSIBLE_SSH_EXECUTABLE: program, ANSIBLE_SSH_ARGS: '', ANSIBLE_HOST_KEY_CHECKING: 'False' },
      }),
    },
    // Nothing but the way there and back: what every tool pays first.
    command: {
      program: 'true',
      call: ({ program, host, env }) => ({ words: [program, host, 'true'], env }),
      times: 5,
    },
  };
}

export const missing = (jobs: Record<string, Job>): string[] => [
  ...new Set(Object.values(jobs).flatMap(({ program }) => (hasProgram(program) ? [] : [program]))),
];

/** The operations that the page asks for, with the fields of each request. The console's server checks them. */
import * as v from 'valibot';
import {
  base64,
  count,
  duration,
  host,
  map,
  maybe,
  name,
  object,
  oneOf,
  runId,
  share,
  stream,
  targets,
  text,
  truth,
  whole,
  words,
} from './fields.js';

const operation = <const A extends v.ObjectEntries>(asked: A) => ({ asked: object(asked) });
/** The same, for what changes or starts something: a console with --read-only refuses it. */
const change = <const A extends v.ObjectEntries>(asked: A) => ({ asked: object(asked), changes: true as const });

const place = { host: host(), runId: runId() };
const size = { cols: whole(1, 65_535), rows: whole(1, 65_535) };

/** What is run: words that reach the program exactly, shell text, or the account's login shell. One of them. */
const command = {
  argv: maybe(words()),
  script: maybe(text()),
  loginShell: maybe(v.literal(true)),
};

const runOptions = object({
  cwd: maybe(text()),
  env: maybe(map(text())),
  runAs: maybe(name()),
  name: maybe(name()),
  timeout: maybe(duration()),
  deadline: maybe(duration()),
  idleTimeout: maybe(duration()),
  killGrace: maybe(duration()),
  capture: maybe(oneOf(['split', 'merged', 'exact', 'ordered'])),
  overflow: maybe(oneOf(['block', 'stop', 'drop-old'])),
  maxOutput: maybe(count()),
  limits: maybe(
    object({
      memory: maybe(count()),
      cpu: maybe(duration()),
      files: maybe(count()),
      processes: maybe(count()),
    }),
  ),
  /** Only for one host. */
  pty: maybe(object(size)),
  /** The whole input; "open": `stdin` sends it later, only for one host. @default none */
  stdin: maybe(v.union([v.literal('open'), object({ text: text() }), object({ base64: base64() })])),
  /** Hosts at a time, and so on: as the options of `sendall run`. */
  window: maybe(whole(1, 100_000)),
  batch: maybe(share()),
  canary: maybe(count()),
  maxFail: maybe(share()),
  pause: maybe(duration()),
  order: maybe(oneOf(['listed', 'random'])),
});
const aim = {
  targets: targets(),
  /** Of these, only the hosts that an earlier run has left so: failed:RUN, changed:RUN, lost:RUN, … */
  only: maybe(name()),
};

export const OPERATIONS = {
  /** All known hosts, and the `@` words for groups and tags. */
  hosts: operation({}),
  /** What a set means: its hosts in order, the set folded. A wrong one is an error USAGE. */
  resolve: operation(aim),
  /** What `run` would do, without doing it. `policy`: asks at most so many hosts which rule decides; 0 asks none. */
  explain: operation({ ...aim, ...command, options: maybe(runOptions), policy: maybe(whole(0, 16)) }),
  /**
   * Starts it: on one host a run, on several a fleet run. It answers once the one host has accepted it, or the fleet run
   * has begun. `runId`: the page may choose it (a UUIDv7), so that a request repeated after a lost answer starts nothing
   * twice.
   */
  run: change({ ...aim, ...command, options: maybe(runOptions), runId: maybe(runId()) }),
  /** Runs that hosts know: the unfinished ones, or all. At most `limit` of each host. */
  runs: operation({ targets: maybe(targets()), all: maybe(truth()), limit: maybe(whole(1, 1000)) }),
  /** Runs that were started from here, the newest first; `before`: those older than this one. */
  history: operation({ before: maybe(runId()), limit: maybe(whole(1, 500)) }),
  /** One run on one host: what the host lists, or what the history keeps. */
  runInfo: operation(place),
  /** A fleet run, live or from the history; `fleet` subscribes to its hosts. */
  fleetInfo: operation({ runId: runId() }),
  /** A plain signal; `scope` as for `kill` of the API. */
  signal: change({ ...place, signal: name(), scope: maybe(oneOf(['leader', 'group'])) }),
  /** TERM, `grace`, KILL to every process of a run. Without `host`: of a fleet run, on all hosts where it may run. */
  kill: change({ host: maybe(host()), runId: runId(), grace: maybe(duration()) }),
  /** Forgets a finished run and its output on the host. Without `host`: of a fleet run, everywhere, and in the history. */
  forget: change({ host: maybe(host()), runId: runId() }),
  /** Runs the same command again on hosts of a fleet run that this console started. @default failed */
  again: change({
    runId: runId(),
    on: maybe(oneOf(['ok', 'failed', 'changed', 'lost', 'unreachable', 'neverStarted'])),
  }),
  /** The answers of a fleet run so far, the largest group first. `others`: groups that were left out. */
  groups: operation({ runId: runId() }),
  /** The largest group, and how the others differ from it: lines of stdout, then of stderr. */
  diff: operation({ runId: runId() }),
  /** Finds text in a run's output on its host: offsets of the matches, at most `limit`, from `from` on. */
  search: operation({ ...place, stream: stream(), text: name(), from: maybe(count()), limit: maybe(whole(1, 1000)) }),
  /** A path of this server that gives the whole stream once, as a file. */
  download: operation({ ...place, stream: stream() }),
  /** An address for watching this run only. It works until it is withdrawn or the console ends. */
  watchLink: operation(place),
  /** Ends that address, and closes the pages that came by it. */
  withdrawLink: operation(place),
  /** The rules of a host, for its owners. Without `host`: of this machine's file, with what lint finds in it. */
  policy: operation({ host: maybe(host()) }),
  /** What a host's agent would decide: its owners ask about any caller, others about themselves. */
  policyTest: operation({
    host: host(),
    user: name(),
    verb: name(),
    argv: maybe(words()),
    script: maybe(text()),
    cwd: maybe(text()),
    runAs: maybe(name()),
    stdin: maybe(truth()),
    pty: maybe(truth()),
  }),
  /** Records of a host's log: the last ones, those from an index on, or those of a run. */
  audit: operation({ host: host(), last: maybe(whole(0, 1000)), from: maybe(count()), run: maybe(runId()) }),
  auditVerify: operation({ host: host() }),
  /** Takes control of the run that this subscription watches; another caller loses it. */
  take: change({ sub: count() }),
  /** Only watches again. */
  release: change({ sub: count() }),
  /** Input for the run that this subscription controls. It answers when the bytes are taken. `end`: no more will come. */
  stdin: change({ sub: count(), text: maybe(text()), base64: maybe(base64()), end: maybe(truth()) }),
  resize: change({ sub: count(), ...size }),
} as const;

export type Operation = keyof typeof OPERATIONS;
/** The fields of a request. */
export type Asked<O extends Operation> = v.InferOutput<(typeof OPERATIONS)[O]['asked']>;

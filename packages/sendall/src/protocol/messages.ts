/**
 * Every message of the remote protocol, described once. `sendall.proto` beside the package is this table in the
 * language of protobuf; a test keeps the two equal.
 *
 * A frame is `len:u32be | type:u8 | flags:u8 | 0:u16 | alias:u32be | body`. The alias names a run on this link, chosen
 * by the caller and never used again on it; 0 is the link itself. DATA has a fixed body instead of a protobuf message.
 *
 * `agentOnly` marks what an agent tells its keeper about a caller. A caller's frame with such a field is refused.
 */
import { agentOnly, bool, bytes, list, message, opt, text, uint, type Fields, type MessageOf } from './fields.js';

/** The protocol versions this program speaks. */
export const PROTOCOL_VERSION = 1;
/** TLS ALPN name. A peer that does not agree on it is not spoken to. */
export const ALPN = 'sendall/1';
/** Largest frame body once AUTH was checked: 1 MiB and a header. */
export const MAX_FRAME = 1024 * 1024 + 32;
/** Largest frame before AUTH was checked. */
export const MAX_FRAME_BEFORE_AUTH = 4096;
/** Most bytes that a caller sends behind AUTH before it has AUTH_OK. */
export const MAX_FLIGHT = 1024 * 1024;
/** Largest piece of output or input in one DATA frame. Control frames wait for at most one of these. */
export const MAX_DATA = 64 * 1024;

/** stdin, stdout (or merged output), stderr, the terminal, and the record log of exact and ordered capture. */
export const STREAM = { stdin: 0, stdout: 1, stderr: 2, pty: 3, records: 4 } as const;

/** In AUTH_OK's `features`: the agent takes what follows AUTH, also while it waits for its keeper. */
export const FIRST_FLIGHT = 'first-flight';
/** In AUTH_OK's `features`: this host sends BLOCKED to callers that ask for it. */
export const TELLS_BLOCKED = 'blocked';
/** In AUTH_OK's `features`: this host obeys a spec's `limits`. */
export const OBEYS_LIMITS = 'limits';
/** In AUTH_OK's `features`: this host takes a run's `secrets`. */
export const TAKES_SECRETS = 'secrets';
/** In AUTH_OK's `features`: this host has a log, tells its head with EXIT, and obeys OPEN's `syncLog`. */
export const HAS_LOG = 'log';
/** In AUTH_OK's `features`: this host obeys a spec's `accountShell`. */
export const USES_ACCOUNT_SHELL = 'account-shell';
/** In AUTH_OK's `features`: this host obeys a spec's `passing`. */
export const KEEPS_NOTHING = 'passing';
/** In AUTH_OK's `features`: this host knows the verbs put and get. */
export const TRANSFERS = 'transfer';
/** In AUTH_OK's `features`: this host knows the verb forward. */
export const FORWARDS = 'forward';

/** Bytes of names and hashes. */
const RUN_ID = 16;
const ID = 16;
const HASH = 32;

const POSITION = { stream: uint(1), offset: uint(2) } satisfies Fields;
const FROM = {
  stream: uint(1),
  /** First byte wanted; absent: the start, or see tail. */
  offset: opt(uint(2)),
  /** The last n bytes; 0: from the end. */
  tail: opt(uint(3)),
  /** Absolute credit: bytes below this offset may be sent. With tail: so many bytes from there on. */
  limit: uint(4),
} satisfies Fields;
const UPTO = {
  stream: uint(1),
  offset: uint(2),
  /** CRC-32 of bytes 0..offset, taken at the pipe. */
  crc32: uint(3),
  sha256: opt(bytes(4, HASH)),
  /** The pipe was still open in another process when the leader ended: more may follow. */
  open: opt(bool(5)),
} satisfies Fields;
const PROCESS_INFO = { pid: uint(1), argv: list(bytes(2)) } satisfies Fields;
const TERMINAL_SIZE = { cols: uint(1), rows: uint(2), term: opt(text(3)) } satisfies Fields;

/** What a run may use: bytes, milliseconds of processor time, counts. Absent: no limit of ours. */
const LIMITS = {
  memory: opt(uint(1)),
  cpuMs: opt(uint(2)),
  files: opt(uint(3)),
  processes: opt(uint(4)),
} satisfies Fields;

/** What a caller was granted. The keeper obeys it and knows no rules. */
export const GRANT_FIELDS = {
  rule: text(1),
  policyRev: uint(2),
  /** Absolute path of the program to start: the one that was checked. */
  program: opt(bytes(3)),
  /** The checked file's device and inode. */
  device: opt(uint(4)),
  inode: opt(uint(5)),
  runAs: opt(text(6)),
  limits: opt(message(7, LIMITS)),
  timeoutMs: opt(uint(8)),
  /** Bytes of output above which the run ends. */
  output: opt(uint(9)),
  /** Runs of this rule and caller at once. */
  runs: opt(uint(10)),
  /** Where the caller's link comes from. */
  source: opt(text(11)),
  /** The rule trusts this program with root: "trusts-program: yes". Without it a grant never starts anything as root. */
  trustsProgram: opt(bool(12)),
  /** Of put and get, which start no program of the caller's. */
  transfer: opt(
    message(13, {
      /** For each operand the folder below which it lies, by an absolute path. */
      roots: list(bytes(1)),
      /** Bytes of the largest file. */
      maxSize: opt(uint(2)),
    }),
  ),
} satisfies Fields;

/** What to run and how. Paths, words and variables are bytes, as the kernel has them. */
export const SPEC_FIELDS = {
  /**
   * "exec": argv exactly. "sh": script as shell text. "put", "get" and "forward" start our own helper program; argv has
   * its operands (put: [DST], get: [SRC…], forward: ["HOST:PORT"]), and its stdin and stdout are the transfer.
   */
  verb: text(1),
  argv: list(bytes(2)),
  script: opt(bytes(3)),
  cwd: opt(bytes(4)),
  /** NAME=VALUE each, on top of the rebuilt environment. */
  env: list(bytes(5)),
  runAs: opt(text(6)),
  /** A pipe the caller writes to; without it the command reads end-of-file at once. */
  stdin: bool(7),
  pty: opt(message(8, TERMINAL_SIZE)),
  /** "split" (default) | "merged" | "exact" | "ordered". */
  capture: opt(text(9)),
  timeoutMs: opt(uint(10)),
  idleMs: opt(uint(11)),
  killGraceMs: opt(uint(12)),
  /** Absent: a lost link leaves it running. Else TERM this long after the last controller left. */
  termAfterMs: opt(uint(13)),
  /** How long a finished run's record and output stay. */
  keepMs: opt(uint(14)),
  spoolMax: opt(uint(15)),
  /** "block" (default) | "stop" | "drop-old". */
  overflow: opt(text(16)),
  name: opt(text(17)),
  tags: list(text(18)),
  idempotent: opt(bool(19)),
  /** Output above this many bytes ends the run (outcome limits). */
  maxOutput: opt(uint(20)),
  sha256: opt(bool(21)),
  limits: opt(message(22, LIMITS)),
  /** Names of the secrets that OPEN brings. `as`: "fd" | "env". */
  secrets: list(message(23, { name: text(1), as: text(2) })),
  /**
   * "sh" only: the script goes to the account's own shell as ssh does it: SHELL -c SCRIPT, with SSH_CONNECTION. An empty
   * script: a login shell.
   */
  accountShell: opt(bool(24)),
  /** Nothing of the run's output stays once it was acknowledged, and nothing at all once its caller has the end. */
  passing: opt(bool(25)),
} satisfies Fields;

const STARTED_FIELDS = {
  pid: uint(1),
  /** Milliseconds since the epoch. */
  startMs: uint(2),
  /** The resolved program. */
  program: bytes(3),
  bootId: text(4),
} satisfies Fields;

const EXIT_FIELDS = {
  code: opt(uint(1)),
  /** "SIGKILL" and so on. */
  signal: opt(text(2)),
  core: opt(bool(3)),
  /** Why it was ended by us: timeout idle cancelled limits, or lost. */
  cause: opt(text(4)),
  upto: list(message(5, UPTO)),
  startMs: uint(6),
  endMs: uint(7),
  userUs: opt(uint(8)),
  systemUs: opt(uint(9)),
  maxRssKb: opt(uint(10)),
  survivors: list(message(11, PROCESS_INFO)),
  /** "cgroup": the whole tree was reached; "unproven": group, tag and descendants only. */
  killProof: opt(text(12)),
  /** Who or what asked for the end, or why the run is lost. */
  reason: opt(text(13)),
  /** Where the host's log has this end, and the log's last head that is on disk. */
  log: opt(message(14, { index: uint(1), size: uint(2), head: bytes(3) })),
  /** Of a run whose capture is "exact" or "ordered": bytes of output in its records, without what stands before them. */
  recorded: opt(message(15, { stdout: uint(1), stderr: uint(2) })),
} satisfies Fields;

const RUN_INFO = {
  runId: bytes(1, RUN_ID),
  state: text(2),
  name: opt(text(3)),
  argv: list(bytes(4)),
  pid: opt(uint(5)),
  openedMs: uint(6),
  startMs: opt(uint(7)),
  endMs: opt(uint(8)),
  code: opt(uint(9)),
  signal: opt(text(10)),
  cause: opt(text(11)),
  /** "stdout" or "stderr" while the command waits for a reader, "disk" while it waits for room on a full disk. */
  blocked: opt(text(12)),
  attached: opt(uint(13)),
  stdoutBytes: opt(uint(14)),
  stderrBytes: opt(uint(15)),
  principal: opt(text(16)),
  tags: list(text(17)),
  reason: opt(text(18)),
  /** An attachment has control. */
  controlled: opt(bool(19)),
} satisfies Fields;

const STREAM_STATE = {
  stream: uint(1),
  /** Oldest byte still kept. */
  first: uint(2),
  /** Where the next byte will go; for stdin, what the keeper has taken. */
  next: uint(3),
  /** Present once the stream ended. */
  final: opt(uint(4)),
} satisfies Fields;

/** name: [type byte, fields]. */
export const MESSAGES = {
  // -- link
  HELLO: [
    0x01,
    {
      protoMin: uint(1),
      protoMax: uint(2),
      name: text(3),
      nonce: bytes(4, ID),
      /** "shared": several callers use this link, and a fault in one run is answered by the end of that run alone. */
      features: list(text(5)),
      clockMs: uint(6),
      version: text(7),
    },
  ],
  /** The version alone: its reader may be a stranger. */
  HELLO_OK: [0x02, { proto: uint(1) }],
  AUTH: [
    0x03,
    {
      method: text(1),
      proof: opt(bytes(2)),
      /** Both ends of the caller's socket, in the form and order of OPEN's `connection`. Absent: not TCP, or shared. */
      ends: opt(text(3)),
    },
  ],
  AUTH_OK: [
    0x04,
    {
      principal: text(1),
      roles: list(text(2)),
      policyRev: uint(3),
      epoch: bytes(4, ID),
      name: opt(text(5)),
      bootId: opt(text(6)),
      /** "blocked": see BLOCKED. */
      features: list(text(7)),
      maxFrame: opt(uint(8)),
      /** Runs that this link may hold at once; from the keeper: that all callers of the agent may. */
      maxRuns: opt(uint(9)),
      window: opt(uint(10)),
      clockMs: opt(uint(11)),
      version: opt(text(12)),
      /** Keeper to agent. */
      pid: opt(uint(13)),
    },
  ],
  PING: [0x05, { token: uint(1) }],
  PONG: [0x06, { token: uint(1), runs: opt(uint(2)) }],
  GOAWAY: [0x07, { reason: text(1), drainMs: opt(uint(2)), retryAfterMs: opt(uint(3)) }],
  LINK_ERROR: [0x08, { code: text(1), message: text(2) }],
  // -- run life
  OPEN: [
    0x10,
    {
      runId: bytes(1, RUN_ID),
      /** An encoded spec: hashed as it came. */
      spec: bytes(2),
      notAfterMs: uint(3),
      epoch: opt(bytes(4, ID)),
      attach: list(message(5, FROM)),
      principal: agentOnly(opt(text(6))),
      /** Random bytes that name this caller's hold on the run over all of its links. */
      holder: opt(bytes(7)),
      /** This hold was announced before on another link: control is taken only if no other caller took it since. */
      again: opt(bool(8)),
      /** The caller wants ECHO: of a terminal, whether it shows what is typed. */
      echo: opt(bool(9)),
      /** The caller's link. Runs that wait take turns by link. */
      link: agentOnly(opt(uint(10))),
      /** Whose link that is. What the keeper has is shared out by caller. */
      caller: agentOnly(opt(text(11))),
      /** The caller wants BLOCKED. */
      blocked: opt(bool(12)),
      /** Milliseconds from this message until the host ends the run, its wait for a turn included. */
      leftMs: opt(uint(13)),
      /** Absent: an owner's run, nothing restricted. */
      grant: agentOnly(opt(message(14, GRANT_FIELDS))),
      /** The values of the spec's secrets. In memory only: no journal, log or answer has them. */
      secrets: list(message(15, { name: text(1), value: bytes(2) })),
      /** EXIT waits until the log's record of it is on disk. */
      syncLog: opt(bool(16)),
      /** Both ends of the caller's link as SSH_CONNECTION has them: address, port, our address, our port. Absent: not TCP. */
      connection: agentOnly(opt(text(17))),
    },
  ],
  OPENED: [
    0x11,
    {
      runId: bytes(1, RUN_ID),
      specHash: bytes(2, HASH),
      state: text(3),
      policyRule: opt(text(4)),
      auditSeq: opt(uint(5)),
      controlEpoch: opt(uint(6)),
    },
  ],
  /** policy conflict expired busy nofile notexec nocwd badspec unpaired limits unknown … */
  REFUSED: [
    0x12,
    { runId: bytes(1, RUN_ID), code: text(2), message: text(3), rule: opt(text(4)), retryAfterMs: opt(uint(5)) },
  ],
  STARTED: [0x13, STARTED_FIELDS],
  ATTACH: [
    0x14,
    {
      runId: bytes(1, RUN_ID),
      from: list(message(2, FROM)),
      /** "observe" | "control". */
      mode: text(3),
      principal: agentOnly(opt(text(4))),
      epoch: opt(bytes(5, ID)),
      /** As in OPEN. */
      holder: opt(bytes(6)),
      again: opt(bool(7)),
      echo: opt(bool(8)),
      blocked: opt(bool(9)),
      caller: agentOnly(opt(text(10))),
    },
  ],
  ATTACHED: [
    0x15,
    {
      runId: bytes(1, RUN_ID),
      state: text(2),
      streams: list(message(3, STREAM_STATE)),
      controlEpoch: opt(uint(4)),
      started: opt(message(5, STARTED_FIELDS)),
      exit: opt(message(6, EXIT_FIELDS)),
      treeEnded: opt(bool(7)),
      spec: opt(bytes(8)),
      reason: opt(text(9)),
      /** Of a terminal: what brings another one into the modes that its program has set. */
      screen: opt(text(10)),
    },
  ],
  DETACH: [
    0x16,
    {
      /** The caller has left for good. Absent: its link was lost, and it may come back. */
      left: agentOnly(opt(bool(1))),
      /** Its process has closed the connection, with no other between: it may be back soon, or never. */
      gone: agentOnly(opt(bool(2))),
    },
  ],
  CANCEL: [0x17, { opId: uint(1), graceMs: opt(uint(2)), reason: opt(text(3)) }],
  SIGNAL: [
    0x18,
    {
      opId: uint(1),
      signal: uint(2),
      /** "leader" | "group" | "tree". */
      scope: text(3),
    },
  ],
  RESIZE: [0x19, { opId: uint(1), cols: uint(2), rows: uint(3) }],
  OP_OK: [
    0x1a,
    {
      opId: uint(1),
      /** "done", or why not. */
      result: text(2),
      signalled: list(uint(3)),
      survivors: list(message(4, PROCESS_INFO)),
      proof: opt(text(5)),
    },
  ],
  EXIT: [0x1b, EXIT_FIELDS],
  EXIT_ACK: [0x1c, { received: list(message(1, POSITION)) }],
  TREE_END: [0x1d, { survivors: list(message(1, PROCESS_INFO)) }],
  FORGET: [0x1e, { opId: uint(1), runId: bytes(2, RUN_ID), principal: agentOnly(opt(text(3))) }],
  LIST: [
    0x1f,
    {
      opId: uint(1),
      all: bool(2),
      principal: agentOnly(opt(text(3))),
      /** One RUNS is wanted, and more is asked for with its `next` as `after`. */
      page: opt(bool(4)),
      after: opt(uint(5)),
    },
  ],
  ATTACH_REFUSED: [0x2a, { runId: bytes(1, RUN_ID), code: text(2), message: text(3) }],
  CONTROL_LOST: [0x2b, { controlEpoch: uint(1) }],
  /** To attachments that asked for it: the terminal's bits ICANON and ECHO, at first and whenever they have changed. */
  ECHO: [0x2d, { canonical: bool(1), echo: bool(2) }],
  /** Once, to attachments that asked for it: the command waits; `what` is RUN_INFO's `blocked`. */
  BLOCKED: [0x2e, { what: text(1) }],
  /** `next` is there when a page was asked for and is not the last. */
  RUNS: [0x2c, { opId: uint(1), runs: list(message(2, RUN_INFO)), last: bool(3), next: opt(uint(4)) }],
  // -- streams (DATA 0x20 has a body of its own: codec.ts)
  EOS: [0x21, { stream: uint(1), final: uint(2) }],
  STOP: [0x22, { stream: uint(1) }],
  CREDIT: [0x23, { stream: uint(1), limit: uint(2) }],
  /** `ended`: the end of the stream has arrived too. */
  ACK: [0x24, { stream: uint(1), durable: uint(2), ended: opt(bool(3)) }],
  GAP: [0x25, { stream: uint(1), from: uint(2), to: uint(3), reason: text(4) }],
  // -- questions to the agent itself: status, stop, a pairing code; JSON both ways
  ASK: [0x40, { opId: uint(1), what: text(2), body: opt(text(3)) }],
  /** `code`: "policy" when the question is refused to this caller. */
  ANSWER: [0x41, { opId: uint(1), body: opt(text(2)), error: opt(text(3)), code: opt(text(4)) }],
  // -- pairing: all that an unpaired key may send
  PAIR_BEGIN: [0x50, { name: text(1) }],
  PAIR_PROOF: [0x51, { proof: bytes(1), name: opt(text(2)) }],
  PAIR_DONE: [0x52, { proof: bytes(1), name: text(2) }],
  PAIR_FAIL: [0x53, { code: text(1), message: text(2) }],
  // -- agent and keeper only: a stream grew; the bytes are in the spool folder
  SPOOLED: [0x60, { stream: uint(1), next: uint(2) }],
  /** To the keeper's log: what only the agent knows. The body is JSON. */
  NOTE: [0x61, { kind: text(1), body: text(2) }],
} as const satisfies { [name: string]: readonly [number, Fields] };

type Table = typeof MESSAGES;
export type MessageName = keyof Table;
/** A control message: its `type`, the run's `alias` (0: the link), and its fields. */
export type Control = { [N in MessageName]: { type: N; alias: number } & MessageOf<Table[N][1]> }[MessageName];
/**
 * A piece of a stream. `offset` is its first byte's place in the stream; `gseq` orders the pieces of all streams of a
 * run as the keeper read them (0: unknown, as in a replay).
 */
export interface Data {
  type: 'DATA';
  alias: number;
  stream: number;
  gseq: number;
  offset: number;
  bytes: Buffer;
}
export type Message = Control | Data;
export type MessageNamed<N extends Message['type']> = Extract<Message, { type: N }>;

export type Limits = MessageOf<typeof LIMITS>;
export type Grant = MessageOf<typeof GRANT_FIELDS>;
export type Spec = MessageOf<typeof SPEC_FIELDS>;
export type Started = MessageOf<typeof STARTED_FIELDS>;
export type Exit = MessageOf<typeof EXIT_FIELDS>;
export type RunInfo = MessageOf<typeof RUN_INFO>;
export type ProcessInfo = MessageOf<typeof PROCESS_INFO>;
export type StreamState = MessageOf<typeof STREAM_STATE>;
export type From = MessageOf<typeof FROM>;

/** The log of a host: its lines, its head, and whether it is still what it was. */
import { readFileSync, statSync } from 'node:fs';
import { SendallError, UsageError } from '../../errors.js';
import { AllHosts, auditVerify, resolveHome, type AuditHead, type AuditVerdict } from '../../index.js';
import { acceptHead, headsIn, keptHead } from '../../internal.js';
import { notAVerb, type Arguments, type Command } from '../words/command.js';
import { findPlaces, type Place } from '../hosts/find-run.js';
import { reach, reachOptions } from '../hosts/reach.js';
import { answer, json } from '../show/print.js';
import { EXIT } from '../words/exit-codes.js';
import { count } from '../words/units.js';

const VERBS = ['tail', 'show', 'verify', 'head'];
/** Milliseconds between two looks at a log that is followed. */
const LOOK_MS = 1000;
const LINES = 10;
const LARGEST_FILE = 16 * 1024 * 1024;
/** What begins a run's id. */
const ID = /^[0-9a-f][0-9a-f-]{7,35}$/i;

interface Lines {
  readonly lines: readonly string[];
  readonly next?: number;
  readonly size?: number;
}

export const audit: Command = {
  name: 'audit',
  usage: ['[tail] [-f] [OPTIONS]', 'show [OPTIONS] RUN', 'verify [--against FILE|HOST] [OPTIONS]', 'head [OPTIONS]'],
  summary: 'read a host’s log, and check that nothing in it was changed, removed or added later',
  examples: [
    'sendall audit tail -f',
    'sendall audit show nightly',
    'sendall audit verify --against web1',
    'sendall audit head --on web1 > web1.head',
    'sendall audit verify --against web1.head',
  ],
  options: {
    on: {
      value: 'HOST',
      help: 'the host whose log it is (default: local, or the host of --against)',
      complete: 'host',
    },
    follow: { short: 'f', help: 'tail: print what is added, too' },
    lines: { value: 'N', short: 'n', help: `tail: begin with the last N records (default ${LINES})` },
    against: {
      value: 'FILE|HOST',
      help: 'verify: the log must begin with the records of this head: one in a file, or the newest seen from here of a host',
      complete: 'host',
    },
    accept: { help: 'verify: take the log as it is now; later ones are compared with it' },
    json: { help: 'one JSON object a line on stdout; records as they stand in the log' },
    ...reachOptions,
  },
  subcommands: VERBS,
  completeAfter: { show: 'run' },
  async run(args) {
    const [verb = 'tail', ...rest] = args.words;
    if (verb === 'show') return await show(args, rest);
    const perform = { tail, verify, head }[verb];
    if (!perform) throw notAVerb('audit', verb, VERBS);
    if (rest.length) throw new UsageError(`"${rest[0]}" is too much: the host goes behind --on`);
    return await perform(args);
  },
};

const targetOf = (args: Arguments): string => args.text('on') ?? 'local';

function print(args: Arguments, record: Shown): void {
  if (args.on('json')) json(record);
  else answer(textOf(record));
}

interface Shown {
  readonly n: number;
  readonly at: string;
  readonly kind: string;
  readonly run?: string;
  readonly [key: string]: unknown;
}

/** The records in an answer of a host, which may be anything. @throws SendallError unless each is one. */
function recordsIn(told: Lines, host: string): Shown[] {
  try {
    return told.lines.map((line) => {
      const record = JSON.parse(line) as Partial<Shown> | null;
      if (!Number.isSafeInteger(record?.n) || typeof record?.at !== 'string' || typeof record.kind !== 'string')
        throw new SendallError('LOG', 'it is no record');
      return record as Shown;
    });
  } catch (cause) {
    throw new SendallError('LOG', `${host} tells lines that are no records of a log`, { cause });
  }
}

/** Where to go on behind `from`. @throws SendallError when the host would have us go back, or stay. */
function goOn(next: number, from: number, host: string): number {
  if (next > from) return next;
  throw new SendallError('LOG', `${host} tells the same part of its log again and again`);
}

/** A record for people: when, its index, what, and the rest by name. */
function textOf({ n, at, kind, run = '', ...rest }: Shown): string {
  const parts = Object.entries(rest).map(([name, value]) => {
    const text = Array.isArray(value) ? value.join(' ') : typeof value === 'string' ? value : JSON.stringify(value);
    return name === 'argv' || name === 'what' ? text : `${name}=${text}`;
  });
  return `${at.replace('T', ' ')}  ${String(n).padStart(6)}  ${kind.padEnd(6)} ${[run, ...parts].join(' ').trimStart()}`;
}

async function tail(args: Arguments): Promise<number> {
  const text = args.text('lines') ?? String(LINES);
  if (!/^\d{1,9}$/.test(text)) throw new UsageError(`--lines: "${text}" is not a number`);
  await using host = await reach(targetOf(args), args);
  let from: number | undefined;
  for (;;) {
    const asked: object = from === undefined ? { last: Number(text) } : { from };
    const told: Lines = await host.ask<Lines>('log-lines', asked);
    const records = recordsIn(told, host.id);
    for (const record of records) print(args, record);
    const { size = 0 } = told;
    const last = records.at(-1);
    from = last === undefined ? (from ?? size) : goOn(last.n + 1, from ?? 0, host.id);
    if (from < size && last) continue;
    if (!args.on('follow')) return 0;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

/** Where the run is; one that its host has forgotten may still be in the log. */
async function placesOf(args: Arguments, word: string): Promise<readonly Place[]> {
  try {
    return await findPlaces(word, args);
  } catch (error) {
    if (!(error instanceof UsageError) || !ID.test(word)) throw error;
    return [{ target: targetOf(args), runId: word.toLowerCase() }];
  }
}

async function show(args: Arguments, [word, ...more]: readonly string[]): Promise<number> {
  if (word === undefined || more.length)
    throw new UsageError('audit show takes one run: its id, the beginning of it, or its name');
  let shown = 0;
  for (const { target, runId } of await placesOf(args, word)) {
    await using host = await reach(target, args);
    for (let from: number | undefined = 0; from !== undefined;) {
      const told: Lines = await host.ask<Lines>('log-lines', { run: runId, from });
      const records = recordsIn(told, host.id);
      for (const record of records) print(args, record);
      shown += records.length;
      from = told.next === undefined ? undefined : goOn(told.next, from, host.id);
    }
  }
  if (!shown) throw new UsageError(`the log has no record of the run ${word}, or none any more`);
  return 0;
}

async function head(args: Arguments): Promise<number> {
  const target = targetOf(args);
  await using host = await reach(target, args);
  const signed = await host.ask<{ readonly checkpoint?: unknown } | null>('log-head');
  if (typeof signed?.checkpoint !== 'string') throw new SendallError('LOG', `${host.id} tells no head of a log`);
  if (args.on('json')) json({ event: 'head', host: target, ...signed });
  else answer(...signed.checkpoint.trimEnd().split('\n'));
  return 0;
}

/** The heads to check against, and the host whose log it is. */
function wanted(args: Arguments): { target: string; heads: AuditHead[] } {
  const home = resolveHome();
  const inventory = AllHosts.of(home);
  const heads: AuditHead[] = [];
  let target = args.text('on');
  const seen = (name: string): void => {
    const kept = keptHead(name, home, inventory);
    if (kept) heads.push({ size: kept.size, head: kept.root, pin: kept.pin });
  };
  for (const word of args.texts('against')) {
    const isHost = word === 'local' || inventory.get(word) !== undefined || word.includes('://');
    if (isHost) {
      target ??= word;
      const before = heads.length;
      seen(word);
      if (heads.length === before)
        throw new UsageError(`no head of ${word} was seen from here yet: each command that ends there brings one`);
    } else heads.push(...headsIn(readHeads(word), word));
  }
  target ??= 'local';
  if (!args.on('against')) seen(target);
  return { target, heads };
}

function readHeads(path: string): string {
  try {
    if (statSync(path).size > LARGEST_FILE) throw new UsageError(`${path} is too long for a file of heads`);
    return readFileSync(path, 'utf8');
  } catch (cause) {
    if (cause instanceof UsageError) throw cause;
    throw new UsageError(
      `--against: "${path}" is neither a host that "sendall hosts" shows nor a file that can be read`,
      {
        cause,
      },
    );
  }
}

async function verify(args: Arguments): Promise<number> {
  const { target, heads } = wanted(args);
  await using host = await reach(target, args);
  const verdict = await auditVerify(host, heads);
  const others = verdict.problems.filter(({ kind }) => kind !== 'truncation' && kind !== 'fork');
  if (args.on('accept')) {
    if (others.length) throw new UsageError(`the log of ${target} is damaged in itself: it cannot be accepted`);
    acceptHead(target, resolveHome(), AllHosts.of(resolveHome()), verdict);
  }
  if (args.on('json')) json({ event: 'verdict', host: target, ...verdict });
  else explain(verdict, target, args.on('accept'));
  return verdict.ok || args.on('accept') ? 0 : EXIT.rewritten;
}

function explain(
  { ok, isolation, size, root, checked, against, problems }: AuditVerdict,
  target: string,
  accepted: boolean,
): void {
  if (isolation === 'none')
    answer(`isolation: none: the agent of ${target} is not root, so the commands of its owners can change its log`);
  answer(`${ok ? 'ok' : 'not ok'}: ${count(size, 'record')}, root ${root}`);
  if (checked < size) answer(`the lines of ${size - checked} older records were dropped; their hashes are there`);
  for (const { pin, size: at, consistent } of against) {
    const whose = pin.startsWith('unix:') ? 'local' : pin;
    answer(`${consistent ? 'begins with' : 'does not begin with'} the ${count(at, 'record')} of the head of ${whose}`);
  }
  for (const { index, kind } of problems) answer(`record ${index}: ${kind}`);
  if (accepted) answer('accepted: later heads are compared with this one');
}

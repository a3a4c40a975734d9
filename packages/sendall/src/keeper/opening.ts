/**
 * The way of a run from OPEN to its start: known already, refused, or new; then its intent in the journal, its turn, and
 * its command.
 */
import { hash, timingSafeEqual } from 'node:crypto';
import { ProtocolError } from '../errors.js';
import { shownScript, shownWords, type RecordOf } from '../log/records.js';
import { decodeSpec } from '../protocol/codec.js';
import type { Grant, MessageNamed, Spec } from '../protocol/messages.js';
import { formatRunId } from '../protocol/run-id.js';
import type { AgentConnection } from './agent-connection.js';
import type { EntryOf } from './journal/entries.js';
import { publish } from './probes/events.js';
import { fault } from './probes/faults.js';
import type { RunServices } from './run/services.js';
import { startsOwnProgram } from '../protocol/own-runs.js';
import { boundBy, ownGrant } from './bounds/grant.js';
import { Places, type Place } from './bounds/places.js';
import { keyOf, type Retention } from './run/retention.js';
import { RuleTurns } from './bounds/rule-turns.js';
import { KeeperRun, type RunOwner } from './run/run.js';
import { bytesOf, takeSecrets, type Secrets } from './run/secrets.js';
import { journalWords } from './run/shown-words.js';
import { WaitingRuns } from './run/waiting-runs.js';
import { StartFailure } from './system/program.js';
import { Spawner } from './system/spawner.js';

/** Characters of a name or tag that listings and the journal show, and how many tags. */
const SHOWN_NAME = 256;
const SHOWN_TAGS = 64;
/** Commands started in one turn of the event loop. */
const BURST = 8;
/** Commands that start within so many milliseconds start together. */
const CROWD_MS = 1;
/** Milliseconds after which the spawner's thread is asked for again, when the system gave none. */
const SPAWNER_PAUSE = 1000;

type Refusal = { code: string; message: string; rule?: string | undefined };

/** The keeper, as opening sees it. */
export interface OpeningDesk extends RunServices, RunOwner {
  /** It takes no new runs. */
  readonly draining: boolean;
  /** It may be without runs now. */
  watchIdle(): void;
}

export class Opening {
  /** Started, and their leader has not ended. */
  readonly running = new Set<KeeperRun>();
  readonly waiting = new WaitingRuns();
  readonly #keeper: OpeningDesk;
  readonly #runs: Map<string, KeeperRun>;
  readonly #retention: Retention;
  readonly #places: Places;
  readonly #placeOf = new Map<KeeperRun, Place>();
  readonly #ruleTurns = new RuleTurns<KeeperRun>();
  #nextNo: number;
  /** Prepared or about to be, not started yet. */
  #starting = 0;
  #nextScheduled = false;
  #lastStart = -Infinity;
  #spawner: Spawner | undefined;
  /** Not before is the spawner's thread asked for again. */
  #spawnerFrom = 0;

  /** `nextNo`: the number that the journal gives to the next run. */
  constructor(keeper: OpeningDesk, runs: Map<string, KeeperRun>, retention: Retention, nextNo: number) {
    this.#keeper = keeper;
    this.#runs = runs;
    this.#retention = retention;
    this.#places = new Places(keeper.limits);
    this.#nextNo = nextNo;
  }

  /** The spawner has work: a child that is not known yet may be one of its commands. */
  get isSpawning(): boolean {
    return this.#spawner?.busy ?? false;
  }

  /** The limits have changed: more may run. */
  resize(): void {
    this.#places.resize();
    this.#nextSoon();
  }

  /** OPEN: a new run, the one that is there, or a refusal. */
  open(agent: AgentConnection, message: MessageNamed<'OPEN'>): void {
    const { alias, runId } = message;
    const principal = message.principal ?? '';
    const refuse = ({ code, message: reason, rule }: Refusal): void => {
      const run = formatRunId(runId);
      const { caller } = message;
      this.#keeper.log.refused(`${principal} ${code}`, { run, principal, caller, rule, code, reason });
      agent.wire.send({ type: 'REFUSED', alias, runId, code, message: reason, rule });
    };
    const specHash = hash('sha256', message.spec, 'buffer');
    const existing = this.#runs.get(keyOf(principal, runId));
    if (existing) {
      const refusal = mayReopen(existing, specHash, message.grant, this.#keeper.limits.maxAttachments);
      if (refusal) refuse(refusal);
      else this.#reopen(agent, message, existing);
      return;
    }
    // A copy: the message's bytes are a view of what the socket read.
    const raw = Uint8Array.from(message.spec);
    let spec: Spec;
    try {
      spec = decodeSpec(raw);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      return refuse({ code: 'badspec', message: error.message });
    }
    const grant = message.grant && ownGrant(message.grant);
    spec = boundBy(grant, spec);
    // What has passed is in files by now, or its caller has it.
    if (startsOwnProgram(spec)) spec = { ...spec, passing: true };
    const refusal = this.#mayOpen(message);
    if (refusal) return refuse(refusal);
    const busy = this.#ruleTurns.refusal(principal, grant);
    if (busy !== undefined) return refuse({ code: 'busy', message: busy, rule: grant?.rule });
    let secrets: Secrets;
    try {
      secrets = takeSecrets(spec, message.secrets, this.#keeper.limits, { granted: grant !== undefined });
    } catch (error) {
      if (!(error instanceof StartFailure)) throw error;
      return refuse(error);
    }
    const mostRuns = grant ? this.#keeper.limits.maxRunsPerPrincipal : undefined;
    const place = this.#places.take(message.caller ?? principal, raw.length + bytesOf(secrets), mostRuns);
    if (typeof place === 'string') return refuse({ code: 'busy', message: place });
    const intent: EntryOf<'intent'> = {
      kind: 'intent',
      no: this.#nextNo++,
      principal,
      runId: Uint8Array.from(runId),
      specHash,
      openedMs: Date.now(),
      notAfterMs: message.notAfterMs,
      keepMs: Math.min(spec.keepMs ?? this.#keeper.limits.keepMs, this.#keeper.limits.keepMs),
      argv: journalWords(spec),
      name: spec.name?.slice(0, SHOWN_NAME),
      tags: spec.tags.slice(0, SHOWN_TAGS).map((tag) => tag.slice(0, SHOWN_NAME)),
      passing: spec.passing,
    };
    fault('before-intent');
    const frame = this.#keeper.journal.append(intent);
    const run = new KeeperRun(
      this.#keeper,
      this.#keeper,
      { intent, treeEnded: false, acked: false, dropped: false },
      frame,
    );
    this.#keeper.log.append('allow', allowed(run, message, spec));
    run.specify(raw, spec, { grant, secrets, connection: message.connection });
    run.endWithin(message.leftMs);
    run.syncsLog = message.syncLog ?? false;
    this.#placeOf.set(run, place);
    this.#ruleTurns.add(run, principal, grant);
    publish({ what: 'intent', no: intent.no });
    this.#runs.set(keyOf(principal, runId), run);
    this.#keeper.holdings.of(principal).known++;
    run.opener = agent.attach(run, true, { ...message, again: false });
    const immediate = this.#starting < BURST && this.waiting.size === 0 && place.begin();
    this.#keeper.journal.sync((error) => this.#intentSynced(run, error));
    this.#keeper.native.expectRuns(this.#keeper.live);
    if (!immediate) {
      this.waiting.add(run, place.caller, message.link ?? 0);
      return;
    }
    this.running.add(run);
    this.#starting++;
    // Between the sync's beginning and its end: the disk works while we open what the command needs.
    queueMicrotask(() => this.#prepare(run));
  }

  #reopen(agent: AgentConnection, message: MessageNamed<'OPEN'>, run: KeeperRun): void {
    const attachment = agent.attach(run, true, message);
    const { runId, specHash } = run.identity;
    const controlEpoch = attachment.control ? run.audience.controlEpoch : undefined;
    attachment.send({ type: 'OPENED', runId, specHash, state: 'existing', controlEpoch });
    run.welcome(attachment);
  }

  #mayOpen(message: MessageNamed<'OPEN'>): Refusal | undefined {
    const { epoch, notAfterMs } = message;
    const { maxNotAfterMs, maxIds } = this.#keeper.limits;
    const now = Date.now();
    if (epoch && !this.#keeper.journal.epoch.equals(epoch))
      return { code: 'unknown', message: 'this machine has a new run journal: whether the command ran is not known' };
    if (notAfterMs <= now || notAfterMs <= this.#retention.forgottenBeforeMs)
      return { code: 'expired', message: 'the time in which this run could be started is over' };
    if (notAfterMs > now + maxNotAfterMs)
      return { code: 'limits', message: `notAfter lies further ahead than maxNotAfterMs (${maxNotAfterMs})` };
    if (this.#keeper.draining) return { code: 'busy', message: 'this keeper takes no new runs' };
    if (this.#runs.size >= maxIds)
      return { code: 'limits', message: `the keeper remembers maxIds (${maxIds}) runs already` };
    const refusal = this.#mayKeep(message);
    if (refusal) return refusal;
    try {
      this.#keeper.log.reserve();
    } catch (error) {
      const what = this.#keeper.log.failed === error ? 'log' : 'run journal';
      return { code: 'limits', message: `the ${what} cannot be written (${(error as Error).message})` };
    }
    return undefined;
  }

  /** An owner's runs may keep all that there is; those of others, what one principal may have, and what it leaves to others. */
  #mayKeep({ grant, principal = '' }: MessageNamed<'OPEN'>): Refusal | undefined {
    const { spoolPerPrincipal, maxIds, maxIdsPerPrincipal } = this.#keeper.limits;
    const { spool, known } = this.#keeper.holdings.of(principal);
    spool.total = grant ? spoolPerPrincipal : Infinity;
    if (!grant) return undefined;
    if (known >= maxIds - this.#runs.size)
      return {
        code: 'limits',
        message: `${known} runs of yours are remembered already, and what is left (of maxIds ${maxIds}) is for other callers`,
      };
    if (known >= maxIdsPerPrincipal)
      return { code: 'limits', message: `${known} runs of yours are remembered already (maxIdsPerPrincipal)` };
    // What it has taken goes first: it may have said so since that was last looked for.
    if (spool.used >= spool.total) spool.onFull('share');
    if (spool.used >= spool.total)
      return {
        code: 'limits',
        message: `the output of your runs takes ${spool.used} bytes here already (spoolPerPrincipal): take it, or forget some runs`,
      };
    return undefined;
  }

  /** Opens what the command needs, and starts it when its intent is on the disk already. */
  #prepare(run: KeeperRun): void {
    if (run.over) {
      // Cancelled in the same moment as it was opened.
      this.#starting--;
      return;
    }
    if (run.isOverdue) {
      this.#starting--;
      this.#refuse(run, { code: 'expired', message: 'its deadline passed while it waited for its turn' });
      return;
    }
    try {
      run.prepare();
    } catch (error) {
      this.#starting--;
      this.#refuse(run, failureOf(error));
      return;
    }
    if (run.promised) this.#start(run);
  }

  #intentSynced(run: KeeperRun, error: Error | undefined): void {
    fault('after-sync');
    if (error) {
      if (run.state === 'starting') this.#starting--;
      this.#refuse(run, { code: 'limits', message: `the run journal cannot be written (${error.message})` });
      return;
    }
    if (run.over) return;
    run.promised = true;
    if (run.state === 'starting') return this.#start(run);
    run.opened();
    if (run.state === 'queued') this.#nextSoon();
  }

  #start(run: KeeperRun): void {
    const now = performance.now();
    const crowd = this.#starting > 1 || now - this.#lastStart < CROWD_MS;
    this.#lastStart = now;
    this.#starting--;
    if (crowd && this.#keeper.native.subreaper && now >= this.#spawnerFrom) {
      this.#spawner ??= Spawner.begin();
      if (!this.#spawner) this.#spawnerFrom = now + SPAWNER_PAUSE;
    }
    run.start(crowd, this.#spawner, (failure) => this.#refuse(run, failureOf(failure)));
  }

  #refuse(run: KeeperRun, { code, message }: Refusal): void {
    if (run.over) return;
    run.refuse(code, message);
    this.waiting.delete(run);
    this.running.delete(run);
    this.settled(run);
    this.#retention.add(run);
    this.#nextSoon();
  }

  /** Starts the next runs of the queue, as there is room. A few at a time: running commands are served in between. */
  #next(): void {
    let started = 0;
    for (;;) {
      if (started >= BURST) {
        if (this.waiting.size) this.#nextSoon();
        break;
      }
      const run = this.waiting.next((each) => this.#placeOf.get(each)!.begin());
      if (!run) break;
      started++;
      this.waiting.delete(run);
      this.running.add(run);
      this.#starting++;
      this.#prepare(run);
    }
    this.#keeper.watchIdle();
  }

  #nextSoon(): void {
    if (this.#nextScheduled) return;
    this.#nextScheduled = true;
    setImmediate(() => {
      this.#nextScheduled = false;
      this.#next();
    });
  }

  /** Its leader has ended: others may start. */
  ended(run: KeeperRun): void {
    this.running.delete(run);
    this.#placeOf.get(run)?.end();
    this.#next();
  }

  /** Everything of it has ended. */
  settled(run: KeeperRun): void {
    this.#placeOf.get(run)?.release();
    this.#placeOf.delete(run);
    this.#ruleTurns.settled(run);
  }

  /** It waits for its turn, and is not wanted any more. */
  cancel(run: KeeperRun, reason: string | undefined, code = 'cancelled'): void {
    this.#refuse(run, { code, message: reason ?? 'cancelled before it started' });
  }
}

/** What the log has of a run that was let in. */
function allowed({ idText }: KeeperRun, message: MessageNamed<'OPEN'>, spec: Spec): RecordOf<'allow'> {
  const { principal, caller, grant } = message;
  const { verb, argv, script, cwd, pty, name } = spec;
  return {
    run: idText,
    principal,
    caller,
    source: grant?.source,
    rule: grant?.rule,
    policyRev: grant?.policyRev,
    verb,
    argv: script ? undefined : shownWords(argv),
    script: script && shownScript(script),
    cwd: cwd && Buffer.from(cwd).toString(),
    as: grant?.runAs ?? spec.runAs,
    pty: pty && true,
    name,
  };
}

/** Why a command did not start, for its caller. Other runs go on. */
function failureOf(error: unknown): Refusal {
  if (error instanceof StartFailure) return error;
  return { code: 'limits', message: `the keeper could not start it: ${(error as Error).message}` };
}

/** Why the run that is there cannot be had again. */
function mayReopen(run: KeeperRun, specHash: Buffer, grant: Grant | undefined, most: number): Refusal | undefined {
  const { identity, facts, audience } = run;
  if (!timingSafeEqual(identity.specHash, specHash))
    return { code: 'conflict', message: 'this run id is taken by another command' };
  if (facts.dropped) return { code: 'expired', message: 'this run is over and was forgotten' };
  if (grant && !run.over && run.grant?.runAs !== grant.runAs)
    return { code: 'policy', message: 'it runs with rights that its caller has no longer' };
  if (!facts.refused && audience.attachments.size >= most)
    return { code: 'busy', message: `maxAttachments (${most}) of this run are attached` };
  return facts.refused;
}

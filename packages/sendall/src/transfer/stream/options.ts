/** Options of both sides of a transfer, and how the side that has no settings gets the other's. */
import { ProtocolError, SendallError } from '../../errors.js';
import type { Channel } from './channel.js';
import { limitsOf, type TransferLimits } from './limits.js';
import { encodeMessage, VERSION, type Body, type TransferMessage } from './messages.js';
import type { Roots } from '../files/roots.js';
import { checkSettings, FSYNC, type CheckedSettings, type TransferSettings } from './settings.js';
import type { OnFile } from './tally.js';

/** Options of one side of a transfer. */
export interface TransferOptions {
  /** What the caller wants. Only the caller's side has it: the other takes it from the stream. */
  settings?: TransferSettings;
  /** Called for each file. A promise that it returns is awaited before the next call, and holds the transfer. */
  onFile?: OnFile;
  /** Called once, if so much has travelled so fast that a better way would pay. */
  onMuch?: (() => void) | undefined;
  /** Ends the transfer. Partial files stay for the next one. */
  signal?: AbortSignal;
  /** Limits on what the other side sends. */
  limits?: Partial<TransferLimits>;
  /** For callers who are no owners: the only files that may be read or placed. */
  roots?: Roots | undefined;
  /** Folder that relative paths count from. @default the process's own */
  cwd?: string | undefined;
  /** Part of the names of temporary files. @default random */
  run?: string | undefined;
}

/** Sends this side's header. */
export function sendBegin(
  channel: Channel,
  settings: CheckedSettings | undefined,
  more: Pick<Body<'begin'>, 'sources' | 'name' | 'into'> = {},
): void {
  channel.send(
    encodeMessage('begin', {
      version: VERSION,
      settings: settings && {
        delete: settings.delete || undefined,
        exclude: settings.exclude,
        checksum: settings.checksum || undefined,
        fsync: FSYNC.indexOf(settings.fsync),
        dryRun: settings.dryRun || undefined,
        mode: settings.mode,
        inPlace: !settings.atomic || undefined,
        fresh: !settings.resume || undefined,
        into: settings.into,
      },
      ...more,
    }),
  );
}

/** The settings of a transfer, from this side's options or the other side's header. */
export function settingsOf(
  own: CheckedSettings | undefined,
  header: Body<'begin'>,
  limits: TransferLimits,
): CheckedSettings {
  if (header.version !== VERSION)
    throw new ProtocolError(
      `the other side speaks version ${header.version} of the transfer's stream, and we ${VERSION}`,
    );
  const theirs = header.settings;
  if (own && theirs) throw new ProtocolError('both sides have settings');
  if (own) return own;
  if (!theirs) throw new ProtocolError('neither side has settings');
  const { exclude, mode, inPlace, fresh, into } = theirs;
  return checkSettings(
    {
      delete: theirs.delete ?? false,
      exclude: exclude.map((pattern) => Buffer.from(pattern)),
      checksum: theirs.checksum ?? false,
      fsync: FSYNC[theirs.fsync] ?? 'end',
      dryRun: theirs.dryRun ?? false,
      atomic: !inPlace,
      resume: !fresh,
      ...(mode !== undefined && { mode }),
      ...(into !== undefined && { into }),
    },
    limits,
  );
}

/** What a side makes of its options before it starts. */
export function prepare(options: TransferOptions): { limits: TransferLimits; own: CheckedSettings | undefined } {
  const limits = limitsOf(options.limits);
  return { limits, own: options.settings && checkSettings(options.settings, limits) };
}

/**
 * The next message; waits for it.
 * @throws SendallError when there is none, or it says that the transfer failed.
 */
export async function nextMessage(channel: Channel): Promise<TransferMessage> {
  for (;;) {
    const message = channel.take();
    if (message?.type === 'fatal') throw new SendallError('TRANSFER', message.reason);
    if (message) return message;
    if (!(await channel.arrival())) throw ended();
  }
}

/** The stream is over, and the transfer was not. */
export const ended = (): SendallError => new SendallError('ENDED', 'the stream ended before the transfer did');

/** Runs one side: ends it on the signal, tells the other side why it failed, and closes the channel. */
export async function conduct<T>(channel: Channel, signal: AbortSignal | undefined, run: () => Promise<T>): Promise<T> {
  const abort = (): void => channel.destroy();
  signal?.throwIfAborted();
  signal?.addEventListener('abort', abort, { once: true });
  try {
    const result = await run();
    channel.end();
    return result;
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    await channel.farewell(encodeMessage('fatal', { reason: (error as Error).message.slice(0, MAX_FATAL) }));
    throw error;
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}

const MAX_FATAL = 1000;

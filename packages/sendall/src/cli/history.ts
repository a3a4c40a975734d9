/** Which runs this user started where, so that `attach` and friends find them by id, beginning or name. */
import { appendFileSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { UsageError, connect, resolveHome, type Host, type RunListing } from '../index.js';

const LONGEST = 1024 * 1024;

interface Entry {
  readonly runId: string;
  readonly host: string;
  readonly name?: string;
}

const file = () => join(resolveHome().state, 'started.jsonl');

/** Notes a run. A full disk must not stop a command, so failing to note is not an error. */
export function noteRun(runId: string, host: string, name: string | undefined): void {
  const path = file();
  const line = `${JSON.stringify({ runId, host, name })}\n`;
  const options = { mode: 0o600 };
  try {
    appendFileSync(path, line, options);
    if (statSync(path).size <= LONGEST) return;
    const recent = readFileSync(path, 'utf8').split('\n').slice(-2000).join('\n');
    writeFileSync(`${path}.new`, recent, options);
    renameSync(`${path}.new`, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') return;
    try {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      appendFileSync(path, line, options);
    } catch {
      // Only `attach` by a beginning or a name suffers.
    }
  }
}

function entries(): Entry[] {
  try {
    return readFileSync(file(), 'utf8')
      .split('\n')
      .flatMap((line) => {
        try {
          return line ? [JSON.parse(line) as Entry] : [];
        } catch {
          return [];
        }
      });
  } catch {
    return [];
  }
}

export interface Found {
  readonly host: Host;
  readonly runId: string;
  readonly listing: RunListing | undefined;
}

/**
 * Finds a run by its id, a unique beginning of it, or its name (the newest of that name), on the hosts it was started
 * on, else on `on`, else on this machine. The caller closes the host. Throws UsageError when there is none or several.
 */
export async function findRun(text: string, on: string | undefined): Promise<Found> {
  const noted = on === undefined ? entries().reverse() : [];
  const byName = noted.find(({ name }) => name === text);
  const byId = noted.filter(({ runId }) => runId.startsWith(text.toLowerCase()));
  const ids = new Set(byName ? [byName.runId] : byId.map(({ runId }) => runId));
  if (ids.size > 1) throw new UsageError(`"${text}" is the beginning of ${ids.size} runs: give more of the id`);
  const known = byName ?? byId[0];
  const target = on ?? known?.host ?? 'local';
  const host = await connect(target);
  try {
    const listings: RunListing[] = [];
    for await (const run of host.runs({ all: true })) listings.push(run);
    if (known) {
      const listing = listings.find(({ runId }) => runId === known.runId);
      return { host, runId: known.runId, listing };
    }
    const matches = listings.filter(({ runId, name }) => name === text || runId.startsWith(text.toLowerCase()));
    const named = matches.filter(({ name }) => name === text).sort((a, b) => b.openedMs - a.openedMs)[0];
    if (named) return { host, runId: named.runId, listing: named };
    if (matches.length === 1) return { host, runId: matches[0]!.runId, listing: matches[0] };
    throw new UsageError(
      matches.length
        ? `"${text}" is the beginning of ${matches.length} runs on ${target}: give more of the id`
        : `there is no run "${text}" on ${target}: see "sendall ps --all", or name its host with --on`,
    );
  } catch (error) {
    await host.close();
    throw error;
  }
}

/** Ids and names of the newest runs, for completion. */
export async function knownRuns(): Promise<string[]> {
  const recent = entries().slice(-50).reverse();
  return [...new Set(recent.flatMap(({ runId, name }) => (name ? [name, runId] : [runId])))];
}

/** Prints equal answers of many hosts once, and how the others differ from the majority. */
import type { Group, Outcome } from '../../../index.js';
import { escapeControl } from '../control-characters.js';
import { decodersFor } from '../event-json.js';
import { put, type Sinks } from '../sink.js';
import { differences } from '../text-diff.js';

const RULE = '-'.repeat(15);

function headline({ hosts, outcome, code, signal }: Group): string {
  const how = outcome === 'ok' ? '' : outcome === 'failed' ? `, exit ${code}` : `, ${escapeControl(signal ?? outcome)}`;
  return `${hosts.toString()} (${hosts.size})${how}`;
}

function texts(group: Group, encoding: string | undefined): { stdout: Buffer; stderr: Buffer } {
  const decoders = decodersFor(encoding);
  const decoded = (stream: 'stdout' | 'stderr') =>
    decoders ? Buffer.from(decoders[stream].decode(group[stream])) : group[stream];
  return { stdout: decoded('stdout'), stderr: decoded('stderr') };
}

/** Outcomes of commands that did not run, or of which nothing is known. */
const unknown: readonly Outcome[] = ['unreachable', 'refused', 'expired', 'conflict', 'lost'];

/** The groups in their order, with those at the end whose hosts gave no answer: the reasons are printed after them. */
function answersFirst(groups: readonly Group[]): Group[] {
  return [...groups].sort((a, b) => Number(unknown.includes(a.outcome)) - Number(unknown.includes(b.outcome)));
}

/** Prints each group under a line that names its hosts. */
export async function printGroups(groups: readonly Group[], { out, err }: Sinks, encoding?: string): Promise<void> {
  for (const group of answersFirst(groups)) {
    const { stdout, stderr } = texts(group, encoding);
    await put(out, `${RULE}\n${headline(group)}\n${RULE}\n`);
    await put(out, ended(stdout));
    await put(err, ended(stderr));
  }
}

/** Prints the majority's output, then for each other group the lines that differ: - only the majority, + only these. */
export async function printDiff(groups: readonly Group[], sinks: Sinks, encoding?: string): Promise<void> {
  const [majority, ...others] = answersFirst(groups);
  if (!majority) return;
  await printGroups([majority], sinks, encoding);
  const most = texts(majority, encoding);
  for (const other of others) {
    const its = texts(other, encoding);
    await put(sinks.out, `${RULE}\n${headline(other)} against ${majority.hosts.toString()}\n${RULE}\n`);
    for (const stream of ['stdout', 'stderr'] as const) {
      const lines = await differences(most[stream].toString(), its[stream].toString());
      await put(stream === 'stderr' ? sinks.err : sinks.out, lines.map((line) => `${line}\n`).join(''));
    }
  }
}

/** Ensures a newline at the end, so that the next headline begins a line. */
function ended(bytes: Buffer): Buffer {
  return bytes.length === 0 || bytes.at(-1) === 0x0a ? bytes : Buffer.concat([bytes, Buffer.from('\n')]);
}

/** What is said about a capture that was read: packets, what was left out, and why it ended early. */
import type { ReadCapture } from '../proxy/captured.js';
import { say } from './output.js';

/** Says it on stderr. Returns the exit code: 1 if the capture could not be read to its end. */
export function sayCaptured(file: string, { packets, skipped, noted, broken }: ReadCapture): number {
  if (skipped.size > 0) say(`wirelab: left out of ${packets} packets: ${list(skipped)}`);
  if (noted.size > 0) say(`wirelab: there were ${list(noted)}`);
  if (broken) say(`wirelab: ${file === '-' ? 'stdin' : file} was read up to packet ${packets}: ${broken.message}`);
  return broken ? 1 : 0;
}

/** The same as an object. */
export function capturedJson({ packets, skipped, noted, broken }: ReadCapture): object {
  return {
    event: 'capture',
    packets,
    skipped: Object.fromEntries(skipped),
    noted: Object.fromEntries(noted),
    ...(broken && { broken: broken.message, offset: broken.offset }),
  };
}

function list(counts: ReadonlyMap<string, number>): string {
  return [...counts].map(([name, count]) => `${count} ${name}`).join(', ');
}

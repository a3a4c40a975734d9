/** Asks many hosts the same question, a limited number at a time. */
import { NodeSet } from '../../index.js';
import { OutputError, say } from '../show/print.js';

const WINDOW = 64;

/**
 * Asks each host, prints why one does not answer and, at the end, which did not. Returns their names. `told`: handles a
 * failure instead of printing it.
 */
export async function askEach(
  names: Iterable<string>,
  ask: (name: string) => Promise<void>,
  told: (name: string, error: Error) => void = (name, { message }) => say(`sendall: ${name}: ${message}`),
): Promise<string[]> {
  const waiting = names[Symbol.iterator]();
  const failed: string[] = [];
  const worker = async () => {
    for (let next = waiting.next(); !next.done; next = waiting.next()) {
      const name = next.value;
      try {
        await ask(name);
      } catch (error) {
        // Our own reader has gone; no host is at fault.
        if (error instanceof OutputError) throw error;
        failed.push(name);
        told(name, error as Error);
      }
    }
  };
  await Promise.all(Array.from({ length: WINDOW }, worker));
  if (failed.length) say(`sendall: no answer from ${new NodeSet(failed).toString()}`);
  return failed;
}

/** The protocol `length-ready`: a decimal length, a wait for `ready`, the answer. */
import { encodeText } from '../encoding.js';
import { CommandRefusedError, readCommand } from './command.js';
import type { Line } from './line.js';
import { NOTHING_SAID, tooLong, type Protocol } from './protocol.js';
import { AnswerTooLongError, spool } from './spool.js';

const READY = Buffer.from('ready');
/** More digits than the length of any file has. */
const MOST_DIGITS = 16;

/**
 * The chapter's first cure: the answer's length in decimal digits, a wait for the client's `ready`, then the answer.
 * Each message costs one round trip more than necessary.
 */
export const lengthReady: Protocol = {
  name: 'length-ready',

  async serve(line, run, { encoding, maxAnswer }) {
    for (;;) {
      const command = await readCommand(line);
      if (command === null) return;
      await using answer = await spool(run(command), maxAnswer).catch((error: unknown) => {
        if (!(error instanceof AnswerTooLongError)) throw error;
        return spool(once(Buffer.from(tooLong(maxAnswer))), maxAnswer);
      });
      const empty = answer.length === 0;
      const instead = encodeText(NOTHING_SAID, encoding);
      await line.write(Buffer.from(String(empty ? instead.length : answer.length)));
      if (!(await isReady(line))) return;
      if (empty) await line.write(instead);
      else for await (const chunk of answer.chunks()) await line.write(chunk);
    }
  },

  async *call(line, command) {
    await line.write(Buffer.from(command));
    // The digits end with the read that brings them, as the server then waits for `ready`.
    const digits = await line.read();
    if (digits === null) throw new Error('the server ended before it sent a length');
    const length = Number(digits.toString('latin1'));
    if (digits.length > MOST_DIGITS || !/^\d+$/.test(digits.toString('latin1'))) {
      throw new Error(`expected a length in decimal digits, got ${JSON.stringify(digits.toString('latin1', 0, 40))}`);
    }
    await line.write(READY);
    yield* line.stream(length);
  },
};

/**
 * Waits for `ready`, also in pieces; bytes after it belong to the next command. False when the client ended instead.
 */
async function isReady(line: Line): Promise<boolean> {
  let have = Buffer.alloc(0);
  while (have.length < READY.length) {
    const bytes = await line.read();
    if (bytes === null) return false;
    have = Buffer.concat([have, bytes]);
    const expected = READY.subarray(0, have.length);
    if (!have.subarray(0, expected.length).equals(expected)) {
      throw new CommandRefusedError('expected "ready", got something else');
    }
  }
  if (have.length > READY.length) line.unread(have.subarray(READY.length));
  return true;
}

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

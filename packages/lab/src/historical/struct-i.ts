/** The protocol `struct-i`: four bytes of length, then the answer. */
import { endianness } from 'node:os';
import { lengthPrefixed } from '@sendall/framing';
import { readCommand } from './command.js';
import { tooLong, type Protocol } from './protocol.js';
import { AnswerTooLongError, spool } from './spool.js';

/** The largest number for `struct.pack('i', …)`. */
export const LARGEST_LENGTH = 2 ** 31 - 1;

/** `struct.pack('i')`: four bytes, signed, in the byte order of the machine. */
const framing = lengthPrefixed({
  bytes: 4,
  signed: true,
  endian: endianness() === 'LE' ? 'le' : 'be',
  maxFrameLength: LARGEST_LENGTH,
});

/** The chapter's second cure: four bytes of length and the answer, in one go. An empty answer is length 0. */
export const structI: Protocol = {
  name: 'struct-i',

  async serve(line, run, { maxAnswer }) {
    const encoder = framing.encoder();
    const limit = Math.min(maxAnswer, LARGEST_LENGTH);
    for (;;) {
      const command = await readCommand(line);
      if (command === null) return;
      try {
        await using answer = await spool(run(command), limit);
        let header: Buffer | undefined = encoder.header(answer.length);
        for await (const chunk of answer.chunks()) {
          await line.write(header ? Buffer.concat([header, chunk]) : chunk);
          header = undefined;
        }
        if (header) await line.write(header);
      } catch (error) {
        if (!(error instanceof AnswerTooLongError)) throw error;
        await line.write(encoder.encode(tooLong(limit)));
      }
    }
  },

  async *call(line, command) {
    await line.write(Buffer.from(command));
    const header = await line.readExactly(4);
    const length = endianness() === 'LE' ? header.readInt32LE() : header.readInt32BE();
    if (length < 0) throw new Error(`the server announced ${length} bytes: not a length`);
    yield* line.stream(length);
  },
};

/** The protocol `recv`: commands and answers without any framing. */
import { encodeText } from '../encoding.js';
import { readCommand } from './command.js';
import { NOTHING_SAID, type Protocol } from './protocol.js';

/** Milliseconds of silence after which an answer is shown, as nothing marks its end. */
export const QUIET_MS = 200;
/** The same after the last command, when the server's end of stream will mark the end. A silence is no end then. */
const QUIET_AT_THE_END_MS = 10_000;

/**
 * No framing at all, like the chapter's first program: `recv`, run, `send`. Output that takes longer than the client
 * waits arrives with the next answer, which is the fault the chapter is about.
 */
export const recv: Protocol = {
  name: 'recv',

  async serve(line, run, { encoding }) {
    for (;;) {
      const command = await readCommand(line);
      if (command === null) return;
      let said = false;
      for await (const piece of run(command)) {
        said = true;
        await line.write(piece);
      }
      if (!said) await line.write(encodeText(NOTHING_SAID, encoding));
    }
  },

  async *call(line, command, last) {
    await line.write(Buffer.from(command));
    if (last) line.end();
    let patience = Number.MAX_SAFE_INTEGER;
    for (;;) {
      const bytes = patience === Number.MAX_SAFE_INTEGER ? await line.read() : await line.readWithin(patience);
      if (bytes === null || bytes === 'quiet') return;
      yield bytes;
      patience = last ? QUIET_AT_THE_END_MS : QUIET_MS;
    }
  },
};

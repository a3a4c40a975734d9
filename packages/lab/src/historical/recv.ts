/** The protocol `recv`: commands and answers without any framing. */
import { encodeText } from '../encoding.js';
import { readCommand } from './command.js';
import { NOTHING_SAID, type Protocol } from './protocol.js';

/** Nothing marks where an answer ends: it is shown when the line has been quiet for so long. */
export const QUIET_MS = 200;
/** The same after the last command, when the server will say by its own end that nothing follows. */
const QUIET_AT_THE_END_MS = 2000;

/**
 * No framing at all, the program the chapter begins with: `recv`, run, `send`. What does not fit into the time that the
 * client waits arrives with the next answer, which is the fault the chapter is about.
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

/**
 * Types one key at a time into a shell on a terminal and times its echo. Arguments: the command line that opens the
 * shell. Controlled by messages: the number of keys.
 */
import { native, startOnPty } from './pty.js';

const { terminal, pid } = startOnPty(process.argv.slice(2), { ...process.env, TERM: 'xterm' });
let pieces: Buffer[] = [];
let wake = () => {};
const watch = terminal.source.watch(() => {
  const read = terminal.source.read(65536);
  if (read === 'end') process.exit(1);
  if (read === 'none') return;
  pieces.push(Buffer.from(read));
  wake();
});

async function seen(text: string) {
  let all = '';
  for (;;) {
    all += Buffer.concat(pieces).toString('latin1');
    pieces = [];
    if (all.includes(text)) return;
    await new Promise((resolve) => (wake = () => resolve(undefined)));
  }
}

const type = (keys: string) => native.write(terminal.input, Buffer.from(keys));

const answers: Record<string, (question: { times: number }) => Promise<object>> = {
  async open() {
    // Only the answer contains this text; the shell may not listen yet when it is typed.
    const again = setInterval(() => type("PS1='> '; bind 'set enable-bracketed-paste off'; echo re''ady\r"), 1000);
    type("PS1='> '; bind 'set enable-bracketed-paste off'; echo re''ady\r");
    await seen('ready\r\n> ');
    clearInterval(again);
    return {};
  },
  async echo({ times }) {
    const ms = [];
    for (let i = 0; i < times; i++) {
      const from = performance.now();
      type('k');
      await seen('k');
      ms.push(performance.now() - from);
      // Like a person: both sides are idle again before the next key.
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    // Clear the line, so that it never wraps.
    type('\u0015echo cl""ean\r');
    await seen('clean\r\n> ');
    return { ms };
  },
};

process.on('message', (question: { ask: string; times: number }) => {
  answers[question.ask](question).then(
    (answer) => process.send?.(answer),
    (error) => process.send?.({ error: String(error?.stack ?? error) }),
  );
});
process.on('disconnect', () => {
  watch.close();
  process.kill(pid, 'SIGHUP');
  process.exit();
});

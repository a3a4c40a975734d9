/**
 * The peer of `sendall shell`: the same terminal code, but the program runs on a pseudo-terminal of this process rather
 * than on a host. The arguments are the program's. NO_PREDICT=1: shows keys only when the program echoes them.
 */
import { Writable } from 'node:stream';
import { converse } from '../../../packages/sendall/dist/cli/runs/terminal.js';
import { native, startOnPty } from './pty.js';

const { terminal } = startOnPty(process.argv.slice(2), process.env);
const never = new Promise<never>(() => undefined);

async function* events() {
  let pieces: Buffer[] = [];
  let offset = 0;
  let ended = false;
  let wake = () => {};
  const watch = terminal.source.watch(() => {
    const read = terminal.source.read(65536);
    if (read === 'end') ended = true;
    else if (read !== 'none') pieces.push(Buffer.from(read));
    wake();
  });
  // oxlint-disable-next-line no-unmodified-loop-condition -- the watch above changes it
  while (!ended) {
    if (!pieces.length) await new Promise((resolve) => (wake = () => resolve(undefined)));
    const taken = pieces;
    pieces = [];
    for (const bytes of taken) {
      yield { event: 'output', stream: 'stdout', offset, bytes } as const;
      offset += bytes.length;
    }
  }
  watch.close();
  process.exit();
}

const run = {
  runId: 'local',
  events,
  controlLost: never,
  stdin: new Writable({
    write: (keys, _encoding, done) => {
      native.write(terminal.input, keys);
      done();
    },
  }),
  roundTripMs: 1,
  // Like the keeper's own watch: immediately, then every 50 ms.
  followEcho: (listener: (bits: object | undefined) => void) => {
    let told = '';
    const look = () => {
      const { bits } = terminal;
      if (JSON.stringify(bits) === told) return;
      told = JSON.stringify(bits);
      listener(bits);
    };
    setImmediate(look);
    setInterval(look, 50).unref();
  },
  resize: async (cols: number, rows: number) => terminal.resize(cols, rows),
};
await converse(
  run as unknown as Parameters<typeof converse>[0],
  {
    on: (name: string) => name === 'no-predict' && process.env.NO_PREDICT,
    text: () => undefined,
  } as unknown as Parameters<typeof converse>[1],
);

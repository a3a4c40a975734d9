/**
 * npm run soak -- server [--seconds 120] [--seed N] [--rounds 3]: the chaos test of the socket server at full length,
 * on one loop, in threads (two ways) and in processes in turn. Prints one line a round; exits with 1 when a promise is
 * broken.
 */
import { parseArgs } from 'node:util';
import { chaos } from '../../packages/socketserver/test/dist/chaos.js';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '120' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 1e6)) },
    rounds: { type: 'string', default: '3' },
  },
});
const modes = ['inline', 'threads', 'threads on one socket', 'processes'] as const;
let broken = 0;
for (let round = 0; round < Number(values.rounds); round++) {
  for (const mode of modes) {
    const seed = Number(values.seed) + round;
    const result = await chaos({ mode, ms: (Number(values.seconds) * 1000) / modes.length, seed });
    const good =
      result.wrong.length === 0 &&
      result.answers &&
      result.connections === 0 &&
      result.opened === result.closed &&
      result.opened + result.dropped === result.accepted &&
      result.descriptorsAfter <= result.descriptorsBefore + 8;
    if (!good) broken++;
    console.log(`${good ? 'ok    ' : 'BROKEN'} ${mode.padEnd(21)} seed ${seed} ${JSON.stringify(result)}`);
  }
}
console.log(broken === 0 ? 'chaos: every promise held' : `chaos: ${broken} rounds broke a promise`);
process.exit(broken === 0 ? 0 : 1);

/**
 * npm run soak -- transfer [COUNT] [SEED]: COUNT transfers (1000) whose far end is ended by SIGKILL at random bytes, once
 * or twice, in both directions; then the rest. Exits with 1 on the first file that is neither old nor new, or is not
 * what was sent at the end.
 */
import { parseArgs } from 'node:util';
import { killedTransfer } from '../../packages/sendall/test/dist/transfer-kills.js';

const { positionals } = parseArgs({ allowPositionals: true });
const [wanted = 1000, seed = Math.floor(Math.random() * 1e9)] = positionals.map(Number);
console.log(`seed ${seed}`);
let [cut, sent, bytes] = [0, 0, 0];
const began = performance.now();
for (let i = 0; i < wanted; i++) {
  const report = await killedTransfer(`${seed}/${i}`);
  for (const text of report.wrong) console.error(`WRONG in ${seed}/${i}: ${text}`);
  if (report.wrong.length) process.exit(1);
  if (report.cut) cut++;
  sent += report.sent;
  bytes += report.bytes;
  if ((i + 1) % 50 === 0)
    console.log(`${i + 1} transfers, ${cut} cut off, ${Math.round((100 * sent) / bytes)} % sent again`);
}
const seconds = (performance.now() - began) / 1000;
console.log(
  `result: ${JSON.stringify({ name: 'transfer', transfers: wanted, cut, wrong: 0, sentAgain: sent / bytes, seconds })}`,
);

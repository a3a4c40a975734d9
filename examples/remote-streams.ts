// Bytes both ways with back-pressure: a file in, its checksum out; and one run's output as another run's input.
import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { withHost } from './with-host.js';

await withHost(async (host) => {
  const data = randomBytes(5_000_000);
  const sum = await host.run(['sha256sum'], { stdin: Readable.from([data]) });
  console.log(sum.stdout.startsWith(createHash('sha256').update(data).digest('hex')));

  const counted = host.run(['seq', '100000']).pipe(host.run(['wc', '-l']));
  console.log((await counted).stdout.trim());

  const hash = createHash('sha256');
  const run = host.run(['seq', '1000000']);
  for await (const chunk of run.stdout) hash.update(chunk as Buffer);
  console.log(hash.digest('hex'), (await run).finals.stdout);
});

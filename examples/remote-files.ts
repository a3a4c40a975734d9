// Files there and back: a tree with its events, a second push that places nothing, and one file as a stream.
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { withHost } from './with-host.js';

const folder = await mkdtemp(join(tmpdir(), 'sendall-files-'));
await mkdir(join(folder, 'site'));
await writeFile(join(folder, 'site/index.html'), '<h1>hello</h1>\n');
await writeFile(join(folder, 'site/notes.txt'), 'for us\n');

await withHost(async (host) => {
  const transfer = host.push(join(folder, 'site'), `${folder}/www/`, { exclude: ['*.txt'] });
  for await (const event of transfer)
    if (event.event === 'file' && event.kind === 'file') console.log(event.state, event.path, event.bytes);

  const { files, same } = await host.push(join(folder, 'site'), `${folder}/www/`, { exclude: ['*.txt'] });
  console.log(`${files} file, ${same} the same`);

  await host.push(Readable.from(['from a stream\n']), join(folder, 'www/motd'));
  await host.pull(join(folder, 'www'), join(folder, 'back'));
  console.log((await readFile(join(folder, 'back/motd'), 'utf8')).trim());

  const failed = await host.pull('/no/such/file', join(folder, 'back')).nothrow();
  console.log(failed.outcome, failed.problems.length);
});
await rm(folder, { recursive: true });

// Graceful restart behind one Unix path: the new server's socket replaces the old one. The old server then finishes its
// connections and exits. No client is refused or cut off.
import { once } from 'node:events';
import { mkdtempSync, renameSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { serve, type Connection } from '@sendall/socketserver';

const folder = mkdtempSync(join(tmpdir(), 'restart-'));
const path = join(folder, 'socket');

const version = (name: string) => async (connection: Connection) => {
  for await (const chunk of connection) connection.write(`${name}: ${String(chunk)}`);
};
const ask = async (client: ReturnType<typeof connect>, text: string) => {
  client.write(text);
  return String((await once(client, 'data'))[0]);
};

const old = await serve({ path }, version('old'));
const first = connect(path);
console.log(await ask(first, 'before'));

const next = await serve({ path: `${path}.next` }, version('new'));
renameSync(`${path}.next`, path);
const stopping = old.shutdown();

const second = connect(path);
console.log(await ask(second, 'after'));
console.log(await ask(first, 'still served'));
first.end();
const report = await stopping;
console.log(`the old server ended: ${report.destroyed} of its connections were cut off`);
second.end();
await next.shutdown();
rmSync(folder, { recursive: true, force: true });

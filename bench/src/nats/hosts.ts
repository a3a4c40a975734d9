/**
 * node hosts.js BROKER COUNT FINGERPRINT: COUNT hosts behind a broker, each with a key and a connection of its own, in one
 * process with one keeper. The caller with this fingerprint may run commands on them. Tells its parent their pins.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { resolveHome } from 'sendall';
import { Agent } from '../../../packages/sendall/dist/agent/agent.js';
import { Callers } from '../../../packages/sendall/dist/agent/callers/callers.js';
import { loadIdentity } from '../../../packages/sendall/dist/keys/identity.js';
import { Link } from '../../../packages/sendall/dist/link/link.js';
import { NatsListener } from '../../../packages/sendall/dist/link/nats/listen.js';

const [broker = '', count = '0', fingerprint = ''] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), 'sendall-hosts-'));
const home = resolveHome({ SENDALL_HOME: join(folder, 'agent') });
const agent = new Agent({ home, listen: ['tls://127.0.0.1:0'], keeperIdleExit: 500 });
await agent.open();
const callers = new Callers(home);
await callers.add({ fingerprint, name: 'bench' });
const listeners: NatsListener[] = [];
const pins: string[] = [];
for (let i = 0; i < Number(count); i++) {
  const identity = await loadIdentity(resolveHome({ SENDALL_HOME: join(folder, `host-${i}`) }), { create: true });
  pins.push(identity.fingerprint);
  listeners.push(
    await NatsListener.open({
      engine: { url: broker },
      identity,
      handshakeTimeout: 60_000,
      maxLinks: 100,
      maxStrangers: 8,
      maxHandshakes: 256,
      isKnown: (spki) => callers.find(spki) !== undefined,
      card: () => Promise.resolve({ name: `host-${i}`, version: '0', epoch: '0' }),
      accept: (socket, peer, established) =>
        void agent.adopt(new Link(socket), { kind: 'tls', peer, source: 'the broker' }, established),
    }),
  );
}
process.send?.({ pins, url: agent.listening.find((url) => url.startsWith('tls:')), pin: agent.fingerprint });
process.once('message', () => {
  void (async () => {
    await Promise.all(listeners.map((listener) => listener.close()));
    await agent.close();
    rmSync(folder, { recursive: true, force: true });
    process.exit();
  })();
});

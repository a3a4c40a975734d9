// The same messages over a path that cuts and delays: a framing does not notice, a bare read does.
import { experiment, faults, startProxy, type Proxy } from '@sendall/lab';

const host = '127.0.0.1';
const chosen = faults({ slice: 3, jitter: 2 });

for (const framing of [undefined, 'u32be']) {
  let proxy: Proxy | undefined;
  const { trace } = await experiment({
    messages: ['hello', 'world', 'egon'],
    framing,
    segments: false,
    async via(port) {
      proxy = await startProxy({ listen: { host, port: 0 }, to: { host, port }, faults: chosen, seed: 42 });
      return (proxy.address as { port: number }).port;
    },
  });
  await proxy?.close();
  const texts = trace.messages.map((message) => JSON.stringify(message.bytes.toString()));
  console.log(`${framing ?? 'no framing'}: ${texts.join(' ')}`);
}

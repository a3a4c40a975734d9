// What TypeScript knows of a server: `npm run check` compiles this file.
import {
  ForkingUnixStreamServer,
  serve,
  TCPServer,
  ThreadingTCPServer,
  ThreadingUDPServer,
  TLSServer,
  UDPServer,
  UnixDatagramServer,
  UnixSeqpacketServer,
  UnixStreamServer,
  type Address,
  type BaseServer,
  type BoundAddress,
  type BoundHost,
  type BoundPath,
  type Server,
} from '@sendall/socketserver';
import { connect } from 'node:net';
import { expectTypeOf, test } from 'vitest';
import { Obedient } from './dist/handlers.js';
import { closing } from './support/rows.js';

test('servers over IP say host and port, Unix servers a path', () => {
  expectTypeOf<TCPServer['serverAddress']>().toEqualTypeOf<BoundHost>();
  expectTypeOf<TLSServer['serverAddress']>().toEqualTypeOf<BoundHost>();
  expectTypeOf<UDPServer['serverAddress']>().toEqualTypeOf<BoundHost>();
  expectTypeOf<ThreadingTCPServer['serverAddress']>().toEqualTypeOf<BoundHost>();
  expectTypeOf<ThreadingUDPServer['serverAddress']>().toEqualTypeOf<BoundHost>();
  expectTypeOf<UnixStreamServer['serverAddress']>().toEqualTypeOf<BoundPath>();
  expectTypeOf<UnixDatagramServer['serverAddress']>().toEqualTypeOf<BoundPath>();
  expectTypeOf<UnixSeqpacketServer['serverAddress']>().toEqualTypeOf<BoundPath>();
  expectTypeOf<ForkingUnixStreamServer['serverAddress']>().toEqualTypeOf<BoundPath>();
});

test('serve() takes it from the address', () => {
  const overTcp = () => serve({ port: 0 }, Obedient);
  const overUnix = () => serve({ path: '/tmp/x', mode: 0o600 }, Obedient);
  const anywhere = (address: Address) => serve(address, Obedient);
  expectTypeOf(overTcp).returns.resolves.toEqualTypeOf<Server<BoundHost>>();
  expectTypeOf(overUnix).returns.resolves.toEqualTypeOf<Server<BoundPath>>();
  expectTypeOf(anywhere).returns.resolves.toExtend<Server>();
});

test('a server of any kind is a BaseServer and a Server', () => {
  expectTypeOf<TCPServer>().toExtend<BaseServer>();
  expectTypeOf<UnixStreamServer>().toExtend<Server>();
  expectTypeOf<BaseServer['serverAddress']>().toEqualTypeOf<BoundAddress>();
});

test('a bound address is one to connect to', async () => {
  const server = closing(await serve({ host: '127.0.0.1', port: 0 }, Obedient));
  const socket = connect(server.serverAddress);
  await new Promise((resolve) => socket.once('connect', resolve));
  socket.destroy();
});

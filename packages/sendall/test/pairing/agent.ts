/** An agent for pairing only, on a real TLS socket, and a caller that sends single messages. */
import type { TLSSocket } from 'node:tls';
import { Callers } from '../../dist/agent/callers/callers.js';
import { PairingDesk, type PairingOptions } from '../../dist/agent/callers/pairing.js';
import type { Home } from '../../dist/home.js';
import { helloMessage } from '../../dist/link/handshake.js';
import { loadIdentity, type Identity } from '../../dist/keys/identity.js';
import { Link } from '../../dist/link/link.js';
import { acceptPeer, dialTls, exportBinding, serverTls } from '../../dist/link/tls.js';
import type { Control, Message } from '../../dist/protocol/messages.js';
import { newHome, tlsServer } from './support.js';

export interface TestAgent {
  readonly home: Home;
  readonly identity: Identity;
  readonly callers: Callers;
  readonly desk: PairingDesk;
  readonly port: number;
  readonly url: string;
}

export const HELLO_OK: Control = {
  type: 'HELLO_OK',
  alias: 0,
  proto: 1,
};

/** `source` stands for the address that callers come from. */
export async function openTestAgent(
  options: Partial<PairingOptions> & { home?: Home; source?: () => string } = {},
): Promise<TestAgent> {
  const { home = newHome(), source = () => '192.0.2.1', ...limits } = options;
  const identity = await loadIdentity(home, { create: true });
  const callers = new Callers(home);
  const desk = new PairingDesk(identity, callers, { name: 'test-agent', ...limits });
  const port = await tlsServer(serverTls(identity), (socket: TLSSocket) => {
    const peer = acceptPeer(socket);
    const binding = exportBinding(socket);
    const link = new Link(socket);
    link.start({
      message(message) {
        if (message.type === 'HELLO') link.send(HELLO_OK);
        else desk.handle(link, message as Control, peer, binding, source());
      },
      closed() {},
    });
  });
  return { home, identity, callers, desk, port, url: `tls://127.0.0.1:${port}` };
}

/** Reads the next message from a link, or the reason why none arrives. */
export class Conversation {
  readonly link: Link;
  readonly binding: Buffer;
  #arrived: Message[] = [];
  #over = false;
  #wake = () => {};

  constructor(socket: TLSSocket) {
    this.binding = exportBinding(socket);
    this.link = new Link(socket).start({
      message: (message) => {
        this.#arrived.push(message);
        this.#wake();
      },
      closed: () => {
        this.#over = true;
        this.#wake();
      },
    });
  }

  static async begin(port: number, identity: Identity): Promise<Conversation> {
    const { socket } = await dialTls({ host: '127.0.0.1', port, identity });
    const talk = new Conversation(socket);
    talk.link.send(helloMessage('somebody'));
    talk.link.send({ type: 'PAIR_BEGIN', alias: 0, name: 'somebody' });
    return talk;
  }

  /** The next message other than HELLO_OK; undefined when the link has ended. */
  async next(): Promise<Message | undefined> {
    for (;;) {
      const message = this.#arrived.shift();
      if (message && message.type !== 'HELLO_OK') return message;
      if (!message && this.#over) return undefined;
      if (!message) await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  async prove(proof: Uint8Array): Promise<Message | undefined> {
    this.link.send({ type: 'PAIR_PROOF', alias: 0, proof });
    return this.next();
  }
}

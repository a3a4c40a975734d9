/** The first messages of a socket: the page names its key, and each side shows the other that it has it. */
import type { WebSocket } from 'ws';
import { same, type Access, type Grant } from './access.js';
import { newNonce, proofOf, readPageMessage, type PageMessage } from './messages.js';

/** Why a socket is not admitted, in words. */
export const REASONS = { noHello: 'say hello first', token: 'the token is wrong' };

/** What a socket may do. */
export async function admit(socket: WebSocket, access: Access): Promise<Grant | keyof typeof REASONS> {
  const hello = await nextOf(socket);
  if (hello?.type !== 'hello') return 'noHello';
  const key = await access.named(hello.key);
  if (!key) return 'token';
  const nonces = { page: hello.nonce, console: newNonce() };
  const answer = nextOf(socket);
  const ours = await proofOf(key.secret, 'console', nonces);
  socket.send(JSON.stringify({ challenge: { nonce: nonces.console, proof: ours } }), () => undefined);
  const proof = await answer;
  if (proof?.type !== 'proof') return 'noHello';
  if (!same(proof.proof, await proofOf(key.secret, 'page', nonces))) return 'token';
  return access.redeem(key) ?? 'token';
}

/** The next message of a socket; undefined: it is not understood. */
async function nextOf(socket: WebSocket): Promise<PageMessage | undefined> {
  return await new Promise((resolve) => {
    socket.once('message', (data: Buffer, isBinary: boolean) => {
      const read = isBinary ? undefined : readPageMessage(data.toString());
      resolve(read && 'message' in read ? read.message : undefined);
    });
  });
}

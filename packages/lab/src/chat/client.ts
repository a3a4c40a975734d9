/** A client of the chat server. */
import { StringDecoder } from 'node:string_decoder';
import { parseFraming } from '@sendall/framing';
import { reach } from '../wire/reach.js';
import type { Address } from '../address.js';
import { reads } from '../wire/reads.js';

/** A connection to a chat server. */
export interface ChatClient {
  /** Texts as they arrive, until the server ends. */
  readonly texts: AsyncIterable<string>;
  send(text: string): void;
  /** Ends our side; the server's texts still arrive. */
  end(): void;
  close(): void;
}

/**
 * Joins a chat: raw UTF-8 like the tutorial's client, or whole messages with a framing.
 * @throws Error when the server cannot be reached or the spec names no framing
 */
export async function joinChat(address: Address, framing?: string): Promise<ChatClient> {
  const socket = await reach(address);
  const parsed = framing === undefined ? undefined : parseFraming(framing);
  const encoder = parsed?.encoder();
  const texts = async function* () {
    const characters = new StringDecoder('utf8');
    const decoder = parsed?.decoder();
    for await (const chunk of reads(socket)) {
      if (decoder) for (const message of decoder.decode(chunk)) yield message.toString();
      else {
        const text = characters.write(chunk);
        if (text !== '') yield text;
      }
    }
    decoder?.end();
  };
  return {
    texts: texts(),
    send: (text) => void socket.write(encoder ? encoder.encode(text) : text),
    end: () => void socket.end(),
    close: () => void socket.destroy(),
  };
}

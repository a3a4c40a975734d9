/** The handlers under test; threads load them from here. */
import { MessageRequestHandler, type Connection } from '@sendall/socketserver';

export class MessageEcho extends MessageRequestHandler {
  static module = import.meta.url;
  static override framing = 'u32be';
  override onMessage(message: Buffer) {
    this.send(message);
  }
}

/** A handler that burns 100 us of CPU for each message. */
export class Burn extends MessageEcho {
  static override module = import.meta.url;
  override onMessage(message: Buffer) {
    const end = performance.now() + 0.1;
    while (performance.now() < end);
    this.send(message);
  }
}

/** Receives one stream of messages and replies with their number. */
export class MessageCount extends MessageRequestHandler {
  static override framing = 'u32be';
  #messages = 0;
  override onMessage() {
    this.#messages++;
  }
  override onEnd(connection: Connection) {
    connection.write(`${this.#messages}\n`);
  }
}

/** The same with spans. */
export class SpanCount extends MessageRequestHandler {
  static override framing = 'u32be';
  #messages = 0;
  override onSpan() {
    this.#messages++;
  }
  override onEnd(connection: Connection) {
    connection.write(`${this.#messages}\n`);
  }
}

/** Echoes with spans. */
export class SpanEcho extends MessageRequestHandler {
  static override framing = 'u32be';
  override onSpan(bytes: Buffer, start: number, end: number) {
    this.send(bytes.subarray(start, end));
  }
}

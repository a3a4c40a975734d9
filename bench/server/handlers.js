// @ts-check
// The handlers under test; threads load them from here.
import { MessageRequestHandler } from '@sendall/socketserver';

export class MessageEcho extends MessageRequestHandler {
  static module = import.meta.url;
  /** @override */
  static framing = 'u32be';
  /**
   * @override
   * @param {Buffer} message
   */
  onMessage(message) {
    this.send(message);
  }
}

/** A handler that burns 100 us of CPU for each message. */
export class Burn extends MessageEcho {
  /** @override */
  static module = import.meta.url;
  /**
   * @override
   * @param {Buffer} message
   */
  onMessage(message) {
    const end = performance.now() + 0.1;
    while (performance.now() < end);
    this.send(message);
  }
}

/** Receives one stream of messages; answers how many there were. */
export class MessageCount extends MessageRequestHandler {
  /** @override */
  static framing = 'u32be';
  #messages = 0;
  /** @override */
  onMessage() {
    this.#messages++;
  }
  /**
   * @override
   * @param {import('@sendall/socketserver').Connection} connection
   */
  onEnd(connection) {
    connection.write(`${this.#messages}\n`);
  }
}

/** The same by spans. */
export class SpanCount extends MessageRequestHandler {
  /** @override */
  static framing = 'u32be';
  #messages = 0;
  /** @override */
  onSpan() {
    this.#messages++;
  }
  /**
   * @override
   * @param {import('@sendall/socketserver').Connection} connection
   */
  onEnd(connection) {
    connection.write(`${this.#messages}\n`);
  }
}

/** Echoes by spans. */
export class SpanEcho extends MessageRequestHandler {
  /** @override */
  static framing = 'u32be';
  /**
   * @override
   * @param {Buffer} bytes
   * @param {number} start
   * @param {number} end
   */
  onSpan(bytes, start, end) {
    this.send(bytes.subarray(start, end));
  }
}

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

/**
 * Types for the parts of the peers that the benchmarks use. `npm run bench` installs the peers; the build does without
 * them.
 */
declare module 'ssh2' {
  import type { EventEmitter } from 'node:events';
  import type { Duplex, Readable } from 'node:stream';

  export interface ClientChannel extends Duplex {
    stderr: Readable;
  }
  export interface Client extends EventEmitter {
    connect(options: {
      host: string;
      port: number;
      username: string;
      privateKey: Buffer;
      algorithms?: { cipher: string[] };
    }): void;
    exec(command: string, done: (error: Error | undefined, channel: ClientChannel) => void): void;
    setNoDelay(on: boolean): void;
    end(): void;
  }
  const ssh2: { Client: new () => Client };
  export default ssh2;
}

declare module 'it-length-prefixed' {
  interface Bytes {
    get(index: number): number;
  }
  export function decode(
    source: AsyncIterable<Uint8Array>,
    options: {
      lengthDecoder: { (bytes: Bytes | Uint8Array): number; bytes: number };
      maxDataLength: number;
      maxLengthLength: number;
    },
  ): AsyncIterable<Bytes>;
}

declare module 'length-prefixed-stream' {
  import type { Duplex } from 'node:stream';
  const stream: { decode: (options: { limit: number }) => Duplex };
  export default stream;
}

declare module 'frame-stream' {
  import type { Duplex } from 'node:stream';
  const stream: { decode: (options: { maxSize: number }) => Duplex };
  export default stream;
}

declare module 'split2' {
  import type { Duplex } from 'node:stream';
  export default function split(): Duplex;
}

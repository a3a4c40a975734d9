/** Output that results of several hosts have in common. */

export class SharedOutput {
  /** Whose bytes these are. */
  readonly host: string;
  readonly bytes: Buffer;
  /** There were more bytes than a result collects. */
  readonly isCut: boolean;
  /** Of all bytes, hexadecimal. */
  readonly sha256: string;
  #text: string | undefined;

  constructor(host: string, bytes: Buffer, isCut: boolean, sha256: string) {
    this.host = host;
    this.bytes = bytes;
    this.isCut = isCut;
    this.sha256 = sha256;
  }

  /** The bytes as text: decoded once, as all its results decode alike. */
  text(decode: () => string): string {
    return (this.#text ??= decode());
  }
}

/** A packet of a capture, what limits its reader, and what may be wrong with the file. */

/** A packet, as the capture kept it. */
export interface Packet {
  /** Its number in the capture, from 1. */
  readonly number: number;
  /** Nanoseconds since 1970, by the capture's clock. */
  readonly ns: bigint;
  /** The registered number of its link type. Source: tcpdump.org, "Link-layer header types". */
  readonly linkType: number;
  readonly bytes: Buffer;
  /** Bytes on the wire; more than `bytes` has if the capture kept only the beginning. */
  readonly originalLength: number;
}

/** What reading a capture may take. */
export interface CaptureLimits {
  /** Most bytes of one packet; a file that announces more is damaged. @default 262_144 (that of tcpdump) */
  readonly packetBytes?: number | undefined;
  /** Most packets that are read of one capture. @default 100_000_000 */
  readonly packets?: number | undefined;
  /** Most interfaces of a section of pcapng. @default 4096 */
  readonly interfaces?: number | undefined;
  /** Most connections that are followed at once; beyond them, the one idle for longest is let go. @default 100_000 */
  readonly connections?: number | undefined;
  /** Most bytes of all connections that wait for bytes before them. @default 67_108_864 */
  readonly heldBytes?: number | undefined;
  /** Most segments of one direction that wait for bytes before them. @default 4096 */
  readonly heldSegments?: number | undefined;
}

export const CAPTURE_LIMITS = {
  packetBytes: 262_144,
  packets: 100_000_000,
  interfaces: 4096,
  connections: 100_000,
  heldBytes: 64 << 20,
  heldSegments: 4096,
} as const satisfies Required<CaptureLimits>;

/** A capture that cannot be read, or no further. */
export class CaptureError extends Error {
  override readonly name = 'CaptureError';
  readonly code = 'BAD_CAPTURE';
  /** The place in the file, in bytes. */
  readonly offset: number;

  constructor(message: string, offset: number) {
    super(message);
    this.offset = offset;
  }
}

/** Hexdumps for a terminal. */

const PER_LINE = 16;

/** The classic hexdump: offset, sixteen bytes, and their printable ASCII. */
export function hexdump(bytes: Uint8Array, offset = 0, limit = 256): string[] {
  const lines: string[] = [];
  const shown = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, limit));
  for (let at = 0; at < shown.length; at += PER_LINE) {
    const row = shown.subarray(at, at + PER_LINE);
    const hex = [...row].map((byte) => byte.toString(16).padStart(2, '0'));
    const left = hex.slice(0, 8).join(' ').padEnd(23);
    const right = hex.slice(8).join(' ').padEnd(23);
    lines.push(`${(offset + at).toString(16).padStart(8, '0')}  ${left}  ${right}  |${ascii(row)}|`);
  }
  if (shown.length < bytes.length) lines.push(`… ${bytes.length - shown.length} bytes more`);
  return lines;
}

/** One column for each byte; a dot replaces anything but printable ASCII. */
export function ascii(bytes: Uint8Array): string {
  return [...bytes].map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.')).join('');
}

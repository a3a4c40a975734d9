/** The beginning of an output as lines of text. */

/** Colours and the like, which say nothing in plain text: CSI sequences that end in "m". */
// eslint-disable-next-line no-control-regex
const COLOURS = /\u001b\[[\d;:]*m/g;

export interface Sample {
  readonly lines: readonly string[];
  /** It goes on behind these lines. */
  readonly more: boolean;
}

/** `bytes`: the length of the whole output, of which `base64` is the beginning. */
export function readSample({
  bytes,
  base64 = '',
}: {
  readonly bytes: number;
  readonly base64?: string | undefined;
}): Sample {
  const raw = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  const more = raw.length < bytes;
  const text = new TextDecoder().decode(raw).replace(COLOURS, '').replaceAll('\r\n', '\n');
  const lines = text.split('\n');
  // A newline ends a line, and begins none.
  if (lines.at(-1) === '') lines.pop();
  return { lines, more };
}

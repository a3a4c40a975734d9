/** The part of a run's spec that a viewer needs: which streams it has, and what happens to output that is not read. */
import { decodeSpec, encodeSpec } from '../../protocol/codec.js';
import { startsOwnProgram } from '../../protocol/own-runs.js';

/** Instead of the paths of a transfer. */
const UNNAMED = Buffer.from('…');

/** A spec without its arguments, shell text, environment, names and limits. */
export function viewerSpec(raw: Uint8Array): Uint8Array {
  const { verb, argv, stdin, pty, capture, overflow, spoolMax } = decodeSpec(raw);
  const first = startsOwnProgram({ verb }) ? [UNNAMED] : argv.slice(0, 1);
  const what = verb === 'sh' ? { argv: [], script: new Uint8Array() } : { argv: first };
  return encodeSpec({ verb, ...what, env: [], stdin, pty, capture, overflow, spoolMax, tags: [], secrets: [] });
}

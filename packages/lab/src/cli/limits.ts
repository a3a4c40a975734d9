/** Limits with names, and the option that sets them. */
import { CAPTURE_LIMITS } from '../capture/packet.js';
import { MOST_OUTSTANDING } from '../proxy/pairs.js';
import { UsageError, type Arguments, type Option } from './command.js';

/** The limits of a command by their names. */
export type Limits = Readonly<Record<string, { readonly meaning: string; readonly value: number }>>;

/** The limits of what `inspect` and `replay` read. */
export const viewLimits = {
  packetBytes: { meaning: 'bytes of a packet', value: CAPTURE_LIMITS.packetBytes },
  packets: { meaning: 'packets of a capture', value: CAPTURE_LIMITS.packets },
  interfaces: { meaning: 'interfaces of a capture', value: CAPTURE_LIMITS.interfaces },
  connections: { meaning: 'connections of a capture at once', value: CAPTURE_LIMITS.connections },
  heldBytes: { meaning: 'bytes of a capture that wait for missing ones', value: CAPTURE_LIMITS.heldBytes },
  heldSegments: { meaning: 'segments of a direction that wait', value: CAPTURE_LIMITS.heldSegments },
  outstanding: { meaning: 'requests of a connection that wait for an answer', value: MOST_OUTSTANDING },
} as const satisfies Limits;

export function limitOptionOf(limits: Limits): Option {
  const list = Object.entries(limits).map(([name, { meaning, value }]) => `${name} (${meaning}, ${value})`);
  return {
    value: 'NAME=N',
    help: `sets a limit: ${list.join(', ')}`,
    complete: Object.keys(limits).map((name) => `${name}=`),
  };
}

/**
 * The limits that the command line sets.
 * @throws UsageError when a limit is unknown or no number
 */
export function limitsOf<L extends Limits>(args: Arguments, limits: L): { readonly [name in keyof L]?: number } {
  const given: { [name in keyof L]?: number } = {};
  for (const word of args.texts('limit')) {
    const [name = '', value = ''] = word.split('=', 2);
    if (!Object.hasOwn(limits, name)) {
      throw new UsageError(`--limit has no "${name}": there are ${Object.keys(limits).join(', ')}`);
    }
    if (!/^\d{1,15}$/.test(value) || Number(value) < 1) {
      throw new UsageError(`--limit ${name}=N takes a whole number from 1, not "${value}"`);
    }
    given[name as keyof L] = Number(value);
  }
  return given;
}

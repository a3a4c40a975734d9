/** Which process listens on a port of this machine, as far as /proc tells. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** The state of a listening socket in /proc/net/tcp. Source: include/net/tcp_states.h of Linux. */
const LISTEN = '0A';

/** "node, process 123", or less when less is known. */
export function holderOf(port: number): string {
  const held = socketsOn(port);
  if (!held.length) return 'another process';
  const process = processWith(new Set(held.map(({ inode }) => `socket:[${inode}]`)));
  return process ?? `a process of user ${held[0]!.uid}`;
}

function socketsOn(port: number): { uid: string; inode: string }[] {
  const wanted = port.toString(16).toUpperCase().padStart(4, '0');
  return ['tcp', 'tcp6'].flatMap((table) => {
    const rows = read(`/proc/net/${table}`).split('\n').slice(1);
    return rows.flatMap((row) => {
      const [, local = '', , state, , , , uid = '', , inode = ''] = row.trim().split(/\s+/);
      return state === LISTEN && local.endsWith(`:${wanted}`) ? [{ uid, inode }] : [];
    });
  });
}

function processWith(sockets: ReadonlySet<string>): string | undefined {
  for (const pid of names('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    for (const fd of names(`/proc/${pid}/fd`))
      if (sockets.has(target(`/proc/${pid}/fd/${fd}`)))
        return `${read(`/proc/${pid}/comm`).trim() || 'a process'}, process ${pid}`;
  }
  return undefined;
}

// Processes end meanwhile, and those of other users tell nothing.

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

function names(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function target(link: string): string {
  try {
    return readlinkSync(link);
  } catch {
    return '';
  }
}

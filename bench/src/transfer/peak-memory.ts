/** The most memory that processes have used, looked at while they run. */
import { readdirSync, readFileSync } from 'node:fs';

/** Milliseconds between two looks. */
const PERIOD = 25;
const MIB = 1024;

/** Follows all processes that these find until they are stopped. Resolves to the MiB of the largest, by name. */
export function watchPeaks(finders: Readonly<Record<string, (cmdline: string, pid: number) => boolean>>) {
  const peaks = Object.fromEntries(Object.keys(finders).map((name) => [name, 0]));
  const look = () => {
    for (const entry of readdirSync('/proc')) {
      if (!/^\d+$/.test(entry)) continue;
      try {
        const cmdline = readFileSync(`/proc/${entry}/cmdline`, 'latin1');
        for (const [name, finds] of Object.entries(finders)) {
          if (!finds(cmdline, Number(entry))) continue;
          const kib = Number(/^VmHWM:\s*(\d+)/m.exec(readFileSync(`/proc/${entry}/status`, 'latin1'))?.[1] ?? 0);
          peaks[name] = Math.max(peaks[name]!, kib / MIB);
        }
      } catch {
        // The process has ended.
      }
    }
  };
  const timer = setInterval(look, PERIOD);
  return () => {
    clearInterval(timer);
    return peaks;
  };
}

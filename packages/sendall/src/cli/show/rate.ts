/** How fast bytes travel, over the last seconds. */

/** Milliseconds that count. */
const SPAN = 3000;

export class Rate {
  #samples: { readonly at: number; readonly bytes: number }[] = [];

  /** Takes the number of bytes so far. Returns bytes a second; undefined until some time has passed. */
  take(bytes: number, now: number): number | undefined {
    // A new run of a transfer begins again.
    if (bytes < (this.#samples.at(-1)?.bytes ?? 0)) this.#samples = [];
    this.#samples.push({ at: now, bytes });
    while (this.#samples.length > 2 && now - this.#samples[1]!.at > SPAN) this.#samples.shift();
    const first = this.#samples[0]!;
    return now > first.at ? ((bytes - first.bytes) * 1000) / (now - first.at) : undefined;
  }
}

/** "412 MB/s". */
export function formatRate(bytesPerSecond: number): string {
  const units = ['B/s', 'kB/s', 'MB/s', 'GB/s'];
  let value = bytesPerSecond;
  let unit = 0;
  for (; value >= 999.5 && unit < units.length - 1; unit++) value /= 1000;
  return `${unit && value < 9.95 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** Seconds as "00:07" or "1:02:03". */
export function formatTime(seconds: number): string {
  const two = (n: number) => String(n).padStart(2, '0');
  const whole = Math.ceil(seconds);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return `${hours ? `${hours}:` : ''}${two(minutes)}:${two(whole % 60)}`;
}

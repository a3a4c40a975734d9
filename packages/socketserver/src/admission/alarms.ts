/** Alarms on the number of connections. */
import type { Alarm } from '../options.js';

const DEFAULT_COOLDOWN = 5_000;

/** Thresholds on the number of connections. Each rings at most once in its cooldown. */
export class Alarms {
  #alarms: { name: string; threshold: number; cooldown: number; quietUntil: number }[] = [];

  constructor(alarms: Alarm[]) {
    this.set(alarms);
  }

  set(alarms: Alarm[]): void {
    this.#alarms = alarms.map(({ threshold, cooldown = DEFAULT_COOLDOWN, name = String(threshold) }) => ({
      name,
      threshold,
      cooldown,
      quietUntil: this.#alarms.find((old) => old.name === name && old.threshold === threshold)?.quietUntil ?? 0,
    }));
  }

  /** The alarms that ring now that there are so many connections. */
  *reached(connections: number): Generator<{ name: string; threshold: number }> {
    for (const alarm of this.#alarms) {
      if (connections < alarm.threshold) continue;
      const now = performance.now();
      if (now < alarm.quietUntil) continue;
      alarm.quietUntil = now + alarm.cooldown;
      yield { name: alarm.name, threshold: alarm.threshold };
    }
  }

  /** Whether an alarm that rang in a worker is to be heard: its cooldown counts for all workers together. */
  mayRing(name: string): boolean {
    const alarm = this.#alarms.find((each) => each.name === name);
    if (alarm === undefined || performance.now() < alarm.quietUntil) return false;
    alarm.quietUntil = performance.now() + alarm.cooldown;
    return true;
  }

  get any(): boolean {
    return this.#alarms.length > 0;
  }
}

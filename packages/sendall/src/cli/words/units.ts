/** Durations, sizes and numbers as people write them. */
import { readDuration, UsageError } from '../../index.js';
import { readSize } from '../../internal.js';

/** Milliseconds of "30s", "500ms", "10m", "2h", "1d" or a plain number of seconds. */
export function parseDuration(text: string, option: string): number {
  const time = readDuration(/[\d.]$/.test(text) ? `${text}s` : text);
  if (time === undefined) throw new UsageError(`${option}: "${text}" is not a duration such as 30s, 500ms, 10m or 2h`);
  return time;
}

/** Bytes of "64k", "10M", "1GiB" or a plain number. */
export function parseSize(text: string, option: string): number {
  const bytes = readSize(text);
  if (bytes === undefined) throw new UsageError(`${option}: "${text}" is not a size such as 65536, 64k, 10M or 1G`);
  return bytes;
}

/** 65536 as "64 KiB". */
export function formatSize(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = bytes < 1024 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10));
  const value = bytes / 1024 ** power;
  return `${value < 10 && value % 1 ? value.toFixed(1) : Math.round(value)} ${units[power]}`;
}

/** "1 command", "2 commands". */
export function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`;
}

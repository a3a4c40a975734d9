/** Sizes, times and ages as text, in the reader's language. */
import { language } from '../frame/settings.js';

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** Bytes with three digits at most: `980 B`, `1.25 KiB`, `12.5 MiB`. */
export function bytesText(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${value.toFixed(digits)}\u00a0${UNITS[unit]}`;
}

/** Groups digits: 10,000. */
export const countText = (count: number) => count.toLocaleString(language.value === 'zh' ? 'zh-CN' : 'en');

const two = (value: number) => String(Math.floor(value)).padStart(2, '0');

/** Milliseconds as a length of time: `12 ms`, `3.4 s`, `2:05 min`, `3:20 h`, `5 d`. */
export function durationText(ms: number): string {
  const zh = language.value === 'zh';
  if (ms < 1000) return `${Math.max(0, Math.round(ms))}\u00a0${zh ? '毫秒' : 'ms'}`;
  const s = ms / 1000;
  if (s < 60) return `${s < 9.95 ? s.toFixed(1) : Math.floor(s)}\u00a0${zh ? '秒' : 's'}`;
  if (s < 3600) return `${Math.floor(s / 60)}:${two(s % 60)}\u00a0${zh ? '分' : 'min'}`;
  if (s < 86_400) return `${Math.floor(s / 3600)}:${two((s % 3600) / 60)}\u00a0${zh ? '时' : 'h'}`;
  return `${Math.floor(s / 86_400)}\u00a0${zh ? '天' : 'd'}`;
}

/** When something was: the time of day, and the date if that is not today's. */
export function whenText(ms: number): string {
  const at = new Date(ms);
  const time = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  if (at.toDateString() === new Date().toDateString()) return time;
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${time}`;
}

/** A place in a run's time: `+0.000`, `+1:02.345`. */
export function clockText(ms: number): string {
  const s = ms / 1000;
  const rest = (s % 60).toFixed(3);
  const hours = Math.floor(s / 3600);
  const minutes = Math.floor((s % 3600) / 60);
  if (hours > 0) return `+${hours}:${two(minutes)}:${rest.padStart(6, '0')}`;
  return minutes > 0 ? `+${minutes}:${rest.padStart(6, '0')}` : `+${rest}`;
}

/** Round trips, with a digit more than other times as they are short. */
export const roundTripText = (ms: number) =>
  ms < 10 ? `${ms.toFixed(ms < 1 ? 2 : 1)}\u00a0ms` : `${Math.round(ms)}\u00a0ms`;

/** The state of a run, a host or a link: a shape and a word, and a colour besides. */
import type { ComponentChildren, JSX } from 'preact';

export type Tone = 'good' | 'bad' | 'warn' | 'busy' | 'idle';

const SHAPES: Readonly<Record<string, () => JSX.Element>> = {
  /** A disk with a check: it went well. */
  done: () => (
    <>
      <circle cx="7" cy="7" r="6" fill="currentColor" />
      <path d="M4.2 7.2 6.2 9.2 9.9 5" stroke="var(--surface)" stroke-width="1.6" fill="none" />
    </>
  ),
  /** A square with a cross: it failed. */
  failed: () => (
    <>
      <rect x="1" y="1" width="12" height="12" rx="2.5" fill="currentColor" />
      <path d="M4.6 4.6 9.4 9.4 M9.4 4.6 4.6 9.4" stroke="var(--surface)" stroke-width="1.6" />
    </>
  ),
  /** A triangle: something must be looked at. */
  warning: () => (
    <>
      <path d="M7 1 13.4 12.6 H0.6 Z" fill="currentColor" stroke="currentColor" stroke-linejoin="round" />
      <path d="M7 5 V8.4 M7 10.2 V11.2" stroke="var(--surface)" stroke-width="1.5" />
    </>
  ),
  /** An open ring in motion: it goes on. */
  running: () => (
    <g class="spin">
      <circle cx="7" cy="7" r="5.4" stroke="currentColor" stroke-width="1.8" fill="none" opacity="0.28" />
      <path d="M7 1.6 A5.4 5.4 0 0 1 12.4 7" stroke="currentColor" stroke-width="1.8" fill="none" />
    </g>
  ),
  /** A disk in a ring: it is there. */
  up: () => (
    <>
      <circle cx="7" cy="7" r="3.2" fill="currentColor" />
      <circle cx="7" cy="7" r="5.7" stroke="currentColor" stroke-width="1.2" fill="none" opacity="0.45" />
    </>
  ),
  /** A dashed ring: nothing yet. */
  waiting: () => (
    <circle cx="7" cy="7" r="5.4" stroke="currentColor" stroke-width="1.6" stroke-dasharray="2.4 1.8" fill="none" />
  ),
  /** A barred ring: stopped. */
  stopped: () => (
    <>
      <circle cx="7" cy="7" r="5.4" stroke="currentColor" stroke-width="1.6" fill="none" />
      <path d="M3.4 10.6 10.6 3.4" stroke="currentColor" stroke-width="1.6" />
    </>
  ),
  /** A broken line: the link is gone. */
  lost: () => (
    <>
      <path d="M1 7 H4.6 M9.4 7 H13" stroke="currentColor" stroke-width="2" />
      <path d="M5.6 3.4 8.4 10.6" stroke="currentColor" stroke-width="1.6" />
    </>
  ),
};

export type Shape = 'done' | 'failed' | 'warning' | 'running' | 'up' | 'waiting' | 'stopped' | 'lost';

export function State({ shape, tone, children }: { shape: Shape; tone: Tone; children: ComponentChildren }) {
  return (
    <span class={`state ${tone}`}>
      <svg width="14" height="14" viewBox="0 0 14 14" aria-hidden="true">
        {SHAPES[shape]!()}
      </svg>
      {children}
    </span>
  );
}

/** What a screen reader hears about changes: one sentence at a time, at most one in two seconds, the newest one. */
const PAUSE_MS = 2000;

let region: HTMLElement | undefined;
let next: string | undefined;
let pause: ReturnType<typeof setTimeout> | undefined;

export function announceIn(element: HTMLElement | null): void {
  region = element ?? undefined;
}

/** Says a sentence; sentences that come in one pause are replaced by the last of them. */
export function announce(sentence: string): void {
  next = sentence;
  if (pause === undefined) say();
}

function say(): void {
  pause = undefined;
  if (next === undefined || !region) return;
  // The same text again would not be heard.
  region.textContent = region.textContent === next ? `${next}\u00a0` : next;
  next = undefined;
  pause = setTimeout(say, PAUSE_MS);
}

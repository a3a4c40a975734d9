/** Looks for what a reader would call a fault of a page's layout. */
/// <reference lib="dom" />

/** Runs in the browser, so it uses nothing from outside. */
export function layoutFaults(): string[] {
  const LEAST_SIZE = 13;
  /** Pixels of two texts that may lie on each other: lines of text touch. */
  const ACROSS = 2;
  const DOWN = 5;
  const faults: string[] = [];
  const excess = document.documentElement.scrollWidth - innerWidth;
  if (excess > 0) faults.push(`the page is ${excess} px wider than the window`);

  interface Seen {
    readonly text: string;
    readonly element: Element;
    readonly box: DOMRect;
  }
  const seen: Seen[] = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement!;
    const text = node.textContent!.trim();
    if (text === '' || !element.checkVisibility({ visibilityProperty: true })) continue;
    if (element.closest('.sr, .skip, option, svg title')) continue;
    const style = getComputedStyle(element);
    if (style.clipPath !== 'none') continue;
    const size = parseFloat(style.fontSize);
    if (size < LEAST_SIZE) faults.push(`"${text}" has ${size} px`);
    const range = document.createRange();
    range.selectNodeContents(node);
    const box = element instanceof SVGElement ? element.getBoundingClientRect() : range.getBoundingClientRect();
    if (box.width === 0) continue;
    // What scrolls may be wider and longer than what is seen of it; letters of bytes may be cut with their box.
    if (element.closest('.scroll, .events, .dock, .cell, textarea, select')) continue;
    if (box.right > innerWidth + 1 || box.left < -1) faults.push(`"${text}" leaves the window`);
    for (let around: Element | null = element; around; around = around.parentElement) {
      if (getComputedStyle(around).overflowX === 'visible') continue;
      const outer = around.getBoundingClientRect();
      if (box.right > outer.right + 1 || box.left < outer.left - 1) faults.push(`"${text}" is cut off`);
    }
    seen.push({ text, element, box });
  }
  for (const [i, one] of seen.entries())
    for (const other of seen.slice(i + 1)) {
      const across = Math.min(one.box.right, other.box.right) - Math.max(one.box.left, other.box.left);
      const down = Math.min(one.box.bottom, other.box.bottom) - Math.max(one.box.top, other.box.top);
      if (across > ACROSS && down > DOWN) faults.push(`"${one.text}" and "${other.text}" lie on each other`);
    }
  return faults;
}

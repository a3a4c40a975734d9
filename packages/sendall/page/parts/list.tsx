/**
 * A list of any length of which only the rows in sight are in the document. It is an ARIA grid that says how many rows
 * there are and which one each is, and has one row in the tab order, so that a screen reader can follow the arrow keys.
 */
import type { ComponentChildren } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';

/** Rows drawn beyond each edge of what is in sight. */
const BEYOND = 8;
/** Milliseconds without scrolling before the rows in sight are reported. */
const REST_MS = 200;

export interface Column<T> {
  readonly name: string;
  readonly title: ComponentChildren;
  /** Read by a screen reader where the title is no text. */
  readonly label?: string;
  readonly cell: (row: T, index: number) => ComponentChildren;
}

export interface ListProps<T> {
  readonly label: string;
  /** The class that lays out its columns. */
  readonly kind: string;
  readonly rows: readonly T[];
  readonly keyOf: (row: T) => string;
  readonly columns: readonly Column<T>[];
  /** Enter or a click on a row. */
  readonly onOpen?: (row: T) => void;
  /** Space, or a click on the row's box. */
  readonly onMark?: (row: T) => void;
  readonly isMarked?: (row: T) => boolean;
  /** The rows in sight, once scrolling has rested. */
  readonly onSight?: (rows: readonly T[]) => void;
  /** Drawn in place of rows when there are none. */
  readonly empty: ComponentChildren;
}

/** The height of a row, from the style sheet: it is larger on a narrow screen. */
function rowHeight(list: Element): number {
  return Number.parseFloat(getComputedStyle(list).getPropertyValue('--row')) || 34;
}

export function List<T>({ label, kind, rows, keyOf, columns, onOpen, onMark, isMarked, onSight, empty }: ListProps<T>) {
  const scroller = useRef<HTMLDivElement>(null);
  const [seen, setSeen] = useState({ top: 0, height: 800, row: 34 });
  /** The row in the tab order, by key: rows may come and go before it. */
  const [active, setActive] = useState<string>();
  /** A row has the focus. A row that is drawn in another place loses it, and gets it back. */
  const hasFocus = useRef(false);

  useLayoutEffect(() => {
    const list = scroller.current!;
    const look = () => setSeen({ top: list.scrollTop, height: list.clientHeight, row: rowHeight(list) });
    look();
    list.addEventListener('scroll', look, { passive: true });
    const resized = new ResizeObserver(look);
    resized.observe(list);
    return () => {
      list.removeEventListener('scroll', look);
      resized.disconnect();
    };
  }, []);

  const found = active === undefined ? -1 : rows.findIndex((row) => keyOf(row) === active);
  const activeIndex = Math.max(found, 0);
  useLayoutEffect(() => {
    const now = document.activeElement;
    const isInside = scroller.current!.contains(now);
    if (!hasFocus.current || (isInside && !now!.matches('[role=row]'))) return;
    const row = scroller.current!.querySelector<HTMLElement>('[role=row][tabindex="0"]');
    if (row !== now) row?.focus({ preventScroll: true });
  });

  const first = Math.max(0, Math.floor(seen.top / seen.row) - BEYOND);
  const last = Math.min(rows.length, Math.ceil((seen.top + seen.height) / seen.row) + BEYOND);
  const drawn = Array.from({ length: Math.max(0, last - first) }, (_, i) => first + i);
  // The row in the tab order stays in the document, or Tab would lose its place.
  if (rows.length > 0 && activeIndex < first) drawn.unshift(activeIndex);
  if (rows.length > 0 && activeIndex >= last) drawn.push(activeIndex);

  useEffect(() => {
    if (!onSight) return undefined;
    const rest = setTimeout(() => onSight(rows.slice(first, last)), REST_MS);
    return () => clearTimeout(rest);
  }, [first, last, rows]);

  function moveTo(index: number) {
    const to = Math.max(0, Math.min(rows.length - 1, index));
    const row = rows[to];
    if (row === undefined) return;
    setActive(keyOf(row));
    const list = scroller.current!;
    const head = list.querySelector<HTMLElement>('.list-head')?.offsetHeight ?? 0;
    const [top, bottom] = [to * seen.row, (to + 1) * seen.row];
    if (top < list.scrollTop) list.scrollTop = top;
    else if (bottom > list.scrollTop + list.clientHeight - head) list.scrollTop = bottom - list.clientHeight + head;
  }

  function onKeyDown(event: KeyboardEvent) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (!(event.target as HTMLElement).matches('[role=row]')) return;
    const page = Math.max(1, Math.floor(seen.height / seen.row) - 2);
    const to = {
      ArrowDown: activeIndex + 1,
      j: activeIndex + 1,
      ArrowUp: activeIndex - 1,
      k: activeIndex - 1,
      PageDown: activeIndex + page,
      PageUp: activeIndex - page,
      Home: 0,
      End: rows.length - 1,
    }[event.key];
    const row = rows[activeIndex];
    if (to !== undefined) moveTo(to);
    else if (event.key === 'Enter' && onOpen && row !== undefined) onOpen(row);
    else if (event.key === ' ' && onMark && row !== undefined) onMark(row);
    else return;
    event.preventDefault();
  }

  return (
    <div
      ref={scroller}
      class={`list ${kind}`}
      role="grid"
      aria-label={label}
      aria-rowcount={rows.length + 1}
      aria-colcount={columns.length}
      aria-multiselectable={onMark ? true : undefined}
      onKeyDown={onKeyDown}
      onFocusIn={() => (hasFocus.current = true)}
      onFocusOut={({ relatedTarget, target }) => {
        // What is taken out of the document was not left by the reader.
        if ((target as Node).isConnected)
          hasFocus.current = scroller.current?.contains(relatedTarget as Node | null) ?? false;
      }}
    >
      <div class="list-head" role="row" aria-rowindex={1}>
        {columns.map(({ name, title, label }) => (
          <span key={name} class={`c-${name}`} role="columnheader" aria-label={label}>
            {title}
          </span>
        ))}
      </div>
      {rows.length === 0 && <div class="list-empty">{empty}</div>}
      <div class="list-body" role="presentation" style={{ height: `${rows.length * seen.row}px` }}>
        {drawn.map((index) => {
          const row = rows[index]!;
          const key = keyOf(row);
          const marked = isMarked?.(row);
          return (
            <div
              key={key}
              class="list-row"
              role="row"
              aria-rowindex={index + 2}
              aria-selected={marked}
              tabIndex={index === activeIndex ? 0 : -1}
              style={{ transform: `translateY(${index * seen.row}px)` }}
              onFocus={() => setActive(key)}
              onClick={(event) => {
                if ((event.target as HTMLElement).closest('a, button, input, label')) return;
                if (String(getSelection()) === '') onOpen?.(row);
              }}
            >
              {columns.map(({ name, cell }) => (
                <span key={name} class={`c-${name}`} role="gridcell">
                  {cell(row, index)}
                </span>
              ))}
            </div>
          );
        })}
      </div>
    </div>
  );
}

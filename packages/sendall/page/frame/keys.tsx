/** Keys of the page: a view names those it has, and `?` lists the ones that count at the moment. */
import { useEffect, useRef, useState } from 'preact/hooks';
import { Dialog } from '../parts/dialog.js';
import { t, type WordName } from './words.js';

interface Key {
  readonly key: string;
  readonly word: WordName;
  readonly act: () => void;
}

const keys = new Set<Key>();

/** While the component is there, the key does this. It does nothing while the reader types. */
export function useKey(key: string, word: WordName, act: () => void): void {
  const newest = useRef(act);
  newest.current = act;
  useEffect(() => {
    const entry: Key = { key, word, act: () => newest.current() };
    keys.add(entry);
    return () => void keys.delete(entry);
  }, [key, word]);
}

/** An element that wants its keys for itself: a field, or a terminal. */
const TYPED = 'input, textarea, select, [contenteditable], .xterm';

/** Listens for the keys of all views; `?` and `/` belong to the frame. */
export function Keys() {
  const [isOpen, setOpen] = useState(false);
  useKey('/', 'keyFilter', () => document.querySelector<HTMLElement>('[data-filter]')?.focus());
  useKey('?', 'keyKeys', () => setOpen(true));
  useEffect(() => {
    const listen = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return;
      if ((event.target as HTMLElement).closest(TYPED) || document.querySelector('dialog[open]')) return;
      const found = [...keys].findLast(({ key }) => key === event.key);
      if (!found) return;
      event.preventDefault();
      found.act();
    };
    addEventListener('keydown', listen);
    return () => removeEventListener('keydown', listen);
  }, []);
  if (!isOpen) return null;
  const rows: (readonly [string, WordName])[] = [...keys].map(({ key, word }) => [key, word]);
  rows.push(['↑ ↓', 'keyRows'], ['Enter', 'keyOpen'], ['Space', 'keyMark'], ['Esc', 'keyClose']);
  return (
    <Dialog title={t('keysTitle')} onClose={() => setOpen(false)}>
      <div class="keys">
        {rows.map(([key, word]) => [<kbd key={key}>{key}</kbd>, <span key={`${key} means`}>{t(word)}</span>])}
      </div>
    </Dialog>
  );
}

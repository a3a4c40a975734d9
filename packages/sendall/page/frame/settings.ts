/** The reader's language and colours, kept in this browser. */
import { Store } from './store.js';

export const LANGUAGES = ['en', 'zh'] as const;
export type Language = (typeof LANGUAGES)[number];
export const SCHEMES = ['auto', 'light', 'dark'] as const;
export type Scheme = (typeof SCHEMES)[number];

/** A choice that this browser keeps. A browser that keeps nothing has the default each time. */
function kept<T extends string>(name: string, choices: readonly T[], fallback: T): Store<T> {
  const key = `sendall.console.${name}`;
  let found: string | null = null;
  try {
    found = localStorage.getItem(key);
  } catch {
    // storage is off
  }
  const store = new Store<T>(choices.find((choice) => choice === found) ?? fallback);
  store.watch(() => {
    try {
      localStorage.setItem(key, store.value);
    } catch {
      // storage is off
    }
  });
  return store;
}

export const language = kept<Language>('language', LANGUAGES, navigator.language.startsWith('zh') ? 'zh' : 'en');
export const scheme = kept<Scheme>('scheme', SCHEMES, 'auto');

/** Puts the choices on the document, now and at each change. */
export function applySettings(): void {
  const apply = () => {
    document.documentElement.lang = language.value === 'zh' ? 'zh-CN' : 'en';
    document.documentElement.dataset.theme = scheme.value;
  };
  apply();
  language.watch(apply);
  scheme.watch(apply);
}

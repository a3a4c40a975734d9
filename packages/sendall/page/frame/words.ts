/** The page's texts in the reader's language. Only that language is loaded. */
import type { EN } from '../words/en.js';
import { language, type Language } from './settings.js';

export type WordName = keyof typeof EN;
type Words = Readonly<Partial<Record<WordName, string>>>;

const LOAD: Readonly<Record<Language, () => Promise<Words>>> = {
  en: async () => (await import('../words/en.js')).EN,
  zh: async () => (await import('../words/zh.js')).ZH,
};
let words: Words = {};
let wanted: Language | undefined;

/** Loads the texts of a language and makes it the page's; the last choice counts. Rejects when they cannot be loaded. */
export async function speak(choice: Language): Promise<void> {
  wanted = choice;
  const loaded = await LOAD[choice]();
  if (choice !== wanted) return;
  words = loaded;
  language.value = choice;
}

/** The text in the page's language, its blanks filled; its name before any language is loaded. */
export function t(name: WordName, values: Readonly<Record<string, string | number>> = {}): string {
  const text = words[name] ?? name;
  return text.replace(/\{(\w+)\}/g, (blank, key: string) => (key in values ? String(values[key]) : blank));
}

/** The word for a state that a host reports, or that word itself if there is none. */
export const stateWord = (prefix: 's' | 'h', state: string): string => words[`${prefix}_${state}` as WordName] ?? state;

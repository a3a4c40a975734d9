/** A sentence in the lab's two languages. */
export interface Text {
  readonly en: string;
  readonly zh: string;
}

export type Lang = keyof Text;

export const languages: readonly Lang[] = ['en', 'zh'];

export const text = (en: string, zh: string): Text => ({ en, zh });

export function isLang(value: string): value is Lang {
  return (languages as readonly string[]).includes(value);
}

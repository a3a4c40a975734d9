/** The two languages of the lab. */

/** A sentence in the lab's two languages. */
export interface Text {
  readonly en: string;
  readonly zh: string;
}

/** A language of the lab's page and texts. */
export type Lang = keyof Text;

export const LANGUAGES: readonly Lang[] = ['en', 'zh'];

export const text = (en: string, zh: string): Text => ({ en, zh });

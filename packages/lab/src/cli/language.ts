/** The language of a command's sentences: from the option, the locale, or the default. */
import { LANGUAGES, type Lang } from '../lang.js';
import type { Arguments, Option } from './command.js';

export const langOption: Option = {
  value: 'en|zh',
  help: 'of the sentences; default: what the locale says',
  complete: LANGUAGES,
};

/** The language of `--lang`, else of the environment's locale, else English. */
export function language(args: Arguments): Lang {
  const chosen = args.oneOf('lang', LANGUAGES);
  if (chosen !== undefined) return chosen;
  const locale = process.env['LC_ALL'] || process.env['LC_MESSAGES'] || process.env['LANG'] || '';
  return /^zh([_.-]|$)/i.test(locale) ? 'zh' : 'en';
}

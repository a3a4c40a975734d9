import { languages, type Lang } from '../lang.js';
import type { Arguments, Option } from './command.js';

export const langOption: Option = {
  value: 'en|zh',
  help: 'of the sentences; default: what the locale says',
  complete: languages,
};

/** What `--lang` says, else what the environment's locale says, else English. */
export function language(args: Arguments): Lang {
  const chosen = args.oneOf('lang', languages);
  if (chosen !== undefined) return chosen;
  const locale = process.env['LC_ALL'] || process.env['LC_MESSAGES'] || process.env['LANG'] || '';
  return /^zh([_.-]|$)/i.test(locale) ? 'zh' : 'en';
}

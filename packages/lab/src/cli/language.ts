import { isLang, languages, type Lang } from '../lang.js';
import { UsageError } from './command.js';

/** What `--lang` says, else what the environment's locale says, else English. */
export function language(option: string | undefined): Lang {
  if (option !== undefined) {
    if (!isLang(option)) throw new UsageError(`--lang is one of ${languages.join(', ')}, not "${option}"`);
    return option;
  }
  const locale = process.env['LC_ALL'] || process.env['LC_MESSAGES'] || process.env['LANG'] || '';
  return /^zh([_.-]|$)/i.test(locale) ? 'zh' : 'en';
}

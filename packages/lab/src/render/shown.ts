/** A phenomenon as lines for a terminal. */
import { text, type Lang } from '../lang.js';
import type { Phenomenon, Shown } from '../phenomena/index.js';
import { timeline } from './timeline.js';
import { bars } from './bars.js';
import { barsOf, rowsOf } from './shown-json.js';
import { requestLines } from './requests.js';
import { table } from './table.js';

const words = {
  chapter: text('the chapter', '教程的说法'),
  measured: text('measured', '测量结果'),
  notShown: text('not shown', '未能展示'),
};

/** A phenomenon as lines for a terminal. */
export function renderShown(phenomenon: Phenomenon, shown: Shown, lang: Lang): string[] {
  const lines = [
    `== ${phenomenon.name}: ${phenomenon.title[lang]}`,
    `${words.chapter[lang]}: ${phenomenon.chapter[lang]}`,
  ];
  for (const { title, trace, requests, facts } of shown.observations) {
    lines.push('', `-- ${title[lang]}`, ...(requests ? requestLines(requests, lang) : timeline(trace, lang)));
    if (facts)
      lines.push(
        Object.entries(facts)
          .map(([name, value]) => `${name} ${value}`)
          .join(', '),
      );
  }
  if (shown.table) {
    lines.push(
      '',
      ...table(
        shown.table.columns.map((column) => column[lang]),
        rowsOf(shown.table, lang),
      ),
    );
  }
  if (shown.plot) lines.push('', shown.plot.title[lang], ...bars(barsOf(shown.plot, lang), shown.plot.unit));
  if (shown.notShown) lines.push('', `${words.notShown[lang]}: ${shown.notShown[lang]}`);
  lines.push('', `${words.measured[lang]}: ${shown.explanation[lang]}`);
  return lines;
}

/** Ansible inventories as INI: `[group]`, `[group:children]`, hosts with variables; `[group:vars]` is passed over. */
import { mistake } from '../text/tree.js';
import { addAnsibleHosts, isAddressVariable, OWN_GROUPS } from './ansible.js';
import type { Draft } from './draft.js';

const SECTION = /^\[([^:\]\s]+)(?::(\w+))?\]\s*(?:#.*)?$/;

/**
 * Adds an inventory's hosts and groups.
 * @throws UsageError with file and line.
 */
export function readAnsibleIni(text: string, file: string, draft: Draft): void {
  let group = 'ungrouped';
  let kind = 'hosts';
  for (const [index, whole] of text.split(/\r?\n/).entries()) {
    const at = { file, line: index + 1 };
    const line = whole.trim();
    if (!line || /^[#;]/.test(line)) continue;
    const section = SECTION.exec(line);
    if (section) {
      [, group = '', kind = 'hosts'] = section;
      if (!['hosts', 'children', 'vars'].includes(kind))
        throw mistake(at, `the section [${group}:${kind}] is none of [GROUP], [GROUP:children] and [GROUP:vars]`);
      if (kind !== 'vars' && !OWN_GROUPS.has(group)) draft.group(group);
      continue;
    }
    if (/^\[[^\]]*$|^\[[^\]]*\]\s*$/.test(line))
      throw mistake(at, `${JSON.stringify(line.slice(0, 80))} is no section`);
    if (kind === 'vars') continue;
    const [first = '', ...variables] = wordsOf(line);
    const words = kind === 'children' ? childOf(first, draft) : addAnsibleHosts(first, at, addressIn(variables), draft);
    if (!OWN_GROUPS.has(group)) draft.group(group, ...words);
  }
}

function childOf(name: string, draft: Draft): string[] {
  return !OWN_GROUPS.has(name) && draft.group(name) ? [`@${name}`] : [];
}

function addressIn(variables: readonly string[]): string | undefined {
  const found = variables.findLast((word) => isAddressVariable(word.split('=', 1)[0]!));
  return found?.slice(found.indexOf('=') + 1);
}

/** Words as a shell would split them, up to a comment. */
function wordsOf(line: string): string[] {
  const words: string[] = [];
  for (const [word] of line.matchAll(/#.*|(?:"(?:\\.|[^"\\])*"|'[^']*'|\\.|[^\s"'\\])+/g)) {
    if (word.startsWith('#')) break;
    words.push(
      word.replace(/"((?:\\.|[^"\\])*)"|'([^']*)'|\\(.)/g, (_, double, single, escaped) =>
        String(double === undefined ? (single ?? escaped) : String(double).replace(/\\(["\\])/g, '$1')),
      ),
    );
  }
  return words;
}

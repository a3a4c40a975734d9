/** Writes hosts and groups in our own format: YAML to read and edit, or JSON as a program prints it. */
import { NodeSet } from '../sets/node-set.js';
import type { DraftHost } from './draft.js';

/** What is written: hosts by name, and the expression of each group. */
export interface Written {
  readonly hosts: ReadonlyMap<string, DraftHost>;
  readonly groups: ReadonlyMap<string, string>;
}

/** YAML. Hosts that differ only by their names share a line: `web[001-200]: {url: "tls://{host}.lan:7433"}`. */
export function yamlText({ hosts, groups }: Written): string {
  const lines: string[] = [];
  if (hosts.size) lines.push('hosts:', ...folded(hosts).map(([names, host]) => `  ${key(names)}: ${hostText(host)}`));
  if (groups.size)
    lines.push('groups:', ...[...groups].map(([name, words]) => `  ${key(name)}: ${JSON.stringify(words)}`));
  return lines.map((line) => `${line}\n`).join('');
}

/** JSON, with a key for each host. */
export function jsonOf({ hosts, groups }: Written): object {
  const plain = [...hosts].map(([name, { url, pin, tags = {} }]) => [
    name,
    { url, ...(pin !== undefined && { pin }), ...(Object.keys(tags).length && { tags }) },
  ]);
  return { hosts: Object.fromEntries(plain) as object, groups: Object.fromEntries(groups) };
}

function hostText({ url, pin, tags = {} }: DraftHost): string {
  const pairs = Object.entries(tags).map(([name, value]) => `${key(name)}: ${JSON.stringify(value)}`);
  const parts = [`url: ${JSON.stringify(url)}`];
  if (pin !== undefined) parts.push(`pin: ${JSON.stringify(pin)}`);
  if (pairs.length) parts.push(`tags: {${pairs.join(', ')}}`);
  return `{${parts.join(', ')}}`;
}

/** Sets of names with what they share, in the order of their first hosts. */
function folded(hosts: ReadonlyMap<string, DraftHost>): [names: string, host: DraftHost][] {
  const alike = new Map<string, { readonly names: string[]; readonly host: DraftHost }>();
  for (const [name, host] of hosts) {
    const url = templateOf(host.url, name);
    const same = JSON.stringify([url, host.pin === undefined ? '' : name, tagsOf(host)]);
    const found = alike.get(same);
    if (found) found.names.push(name);
    else alike.set(same, { names: [name], host: { ...host, url } });
  }
  return [...alike.values()].flatMap(({ names, host }) => {
    const sets = new NodeSet(names, { maxSize: names.length }).toString().split(/,(?![^[]*\])/);
    return sets.map((set): [string, DraftHost] => [set, hosts.get(set) ?? host]);
  });
}

const tagsOf = ({ tags = {} }: DraftHost) => Object.entries(tags).sort(([a], [b]) => (a < b ? -1 : 1));

/** The address with `{host}` for the name where the name is a whole part of it. */
function templateOf(url: string, name: string): string {
  const at = url.indexOf(name, 'tls://'.length);
  const isPart = at >= 0 && /^\W?$/.test(url.charAt(at - 1)) && /^\W?$/.test(url.charAt(at + name.length));
  return isPart ? `${url.slice(0, at)}{host}${url.slice(at + name.length)}` : url;
}

/** A key as YAML, in quotes unless every reader takes it for text as it is. */
const key = (text: string): string =>
  /^[A-Za-z][\w.-]*(?:\[[\w.,/-]+\][\w.-]*)*$/.test(text) && !/^(?:y|n|yes|no|on|off|true|false|null)$/i.test(text)
    ? text
    : JSON.stringify(text);

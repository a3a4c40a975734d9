/** Reads a list of hosts in one of several tools' formats, told by its content, and turns it into a file for hosts.d. */
import { UsageError } from '../errors.js';
import type { InventoryLimits } from '../client/inventories/limits.js';
import { joinListings, readListing, type Listing } from '../client/inventories/listing.js';
import { treeOfJson, type Tree } from '../text/tree.js';
import { readYaml } from '../text/yaml.js';
import { NodeSet } from '../sets/node-set.js';
import { isAnsibleTree, readAnsibleTree } from './ansible.js';
import { readAnsibleIni } from './ansible-ini.js';
import { isClusterShellTree, isFlat, readClusterShellTree, readFlat } from './clustershell.js';
import { Draft } from './draft.js';
import { jsonOf, yamlText } from './our-text.js';
import { isSshConfig, readSshConfig } from './ssh-config.js';

/** The formats that can be told apart or named. */
export const FORMATS = ['yaml', 'ansible', 'clustershell', 'ssh'] as const;
export type Format = (typeof FORMATS)[number];

/** A text to import. */
export interface Foreign {
  readonly text: string;
  /** Its file, for messages. */
  readonly file: string;
  /** Where relative names of files in it begin. */
  readonly folder: string;
  /** Its format; by default told by its content. */
  readonly from?: Format | undefined;
}

/** A text turned into ours. */
export interface Converted {
  readonly format: Format;
  /** The content of a file for hosts.d. */
  readonly text: string;
  readonly listing: Listing;
  /** What was left out, and why. */
  readonly notes: readonly string[];
}

/**
 * Turns a text into ours. A text in our own format stays as it is, with its comments.
 * @throws UsageError with file and line, or if the format cannot be told.
 */
export function convert(foreign: Foreign, limits: InventoryLimits): Converted {
  const { text, file, folder } = foreign;
  const { format, tree: read, kind } = foreign.from === undefined ? tell(foreign) : named(foreign, foreign.from);
  const draft = new Draft(limits.maxHosts);
  if (format === 'yaml') {
    const listing = joinListings([readListing(read, file, limits.maxHosts)], limits.maxHosts);
    return { format, text, listing, notes: [] };
  }
  if (format === 'ssh') readSshConfig(text, file, folder, draft);
  else if (format === 'ansible') {
    if (read) readAnsibleTree(read, file, draft);
    else readAnsibleIni(text, file, draft);
  } else if (kind === 'flat' || !read) readFlat(text, file, draft);
  else readClusterShellTree(read, file, draft);
  const groups = new Map([...draft.groups].map(([name, words]) => [name, expressionOf([...words], draft)]));
  const ours = yamlText({ hosts: draft.hosts, groups });
  // What we write must be readable again, and groups must not hold themselves. Its lines are not the file's.
  const tree = treeOfJson(jsonOf({ hosts: draft.hosts, groups }), file);
  const listing = joinListings([readListing(tree, file, limits.maxHosts)], limits.maxHosts);
  return { format, text: `# From ${JSON.stringify(file)} (${format}).\n${ours}`, listing, notes: draft.notes };
}

/** The union of words: the names of hosts folded, the others as they are. */
function expressionOf(words: readonly string[], { hosts }: Draft): string {
  const names = words.filter((word) => hosts.has(word));
  const others = words.filter((word) => !hosts.has(word));
  return [...(names.length ? [new NodeSet(names).toString()] : []), ...others].join(',');
}

interface Told {
  readonly format: Format;
  readonly tree?: Tree | undefined;
  readonly kind?: 'flat';
}

function tell({ text, file }: Foreign): Told {
  if (isSshConfig(text)) return { format: 'ssh' };
  if (/^\s*\[[^\]\s]+\]\s*(?:#.*)?$/m.test(text) && !/^\s*[[{]\s*$/m.test(text)) return { format: 'ansible' };
  let tree: Tree | undefined;
  let error: unknown;
  try {
    tree = readYaml(text, file);
  } catch (caught) {
    error = caught;
  }
  if (tree?.kind === 'map') {
    if (tree.entries.every(({ key }) => key === 'hosts' || key === 'groups') && !isFlat(text))
      return { format: 'yaml', tree };
    if (isAnsibleTree(tree)) return { format: 'ansible', tree };
    if (isFlat(text)) return { format: 'clustershell', kind: 'flat' };
    if (isClusterShellTree(tree)) return { format: 'clustershell', tree };
  }
  if (isFlat(text)) return { format: 'clustershell', kind: 'flat' };
  if (isPlainList(text)) return { format: 'ansible' };
  const looksOurs = /^(?:hosts|groups)\s*:/m.test(text);
  if (looksOurs && error) throw error;
  throw new UsageError(
    `${file} is not a list of hosts that we know by its content: say what it is with --from ${FORMATS.join('|')}`,
  );
}

function named(foreign: Foreign, format: Format): Told {
  const { text, file } = foreign;
  if (format === 'yaml') return { format, tree: readYaml(text, file) };
  if (format === 'ssh') return { format };
  if (format === 'clustershell')
    return isFlat(text) ? { format, kind: 'flat' } : { format, tree: readYaml(text, file) };
  // INI unless it is YAML or JSON with groups.
  try {
    const tree = readYaml(text, file);
    if (tree?.kind === 'map') return { format, tree };
  } catch {
    // INI, which reports its own mistakes.
  }
  return { format };
}

/** Host names, one a line, perhaps with variables: an Ansible inventory without groups. */
function isPlainList(text: string): boolean {
  const lines = text.split(/\r?\n/).filter((line) => line.trim() && !/^\s*[#;]/.test(line));
  return (
    lines.length > 0 && lines.every((line) => /^[A-Za-z0-9][\w.[\]:-]*(?:\s+\w+=.*)?(?:\s+#.*)?$/.test(line.trim()))
  );
}

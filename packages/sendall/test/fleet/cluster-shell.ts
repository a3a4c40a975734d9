/** ClusterShell beside us: what Debian's package makes of the same sets. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A set folded, and its names in order. */
export interface Answer {
  readonly folded: string;
  readonly names: readonly string[];
}

/**
 * Its own tests' expressions (ClusterShell 1.9.1, LGPL 2.1 or later) and what it folds them to; undefined: it refuses
 * them.
 */
export function literals(): [expression: string, folded: string | undefined][] {
  const text = readFileSync(new URL('../fixtures/clustershell.tsv', import.meta.url), 'utf8');
  return text
    .trimEnd()
    .split('\n')
    .map((line) => {
      const [expression, folded] = line.split('\t');
      return [expression!, folded === '!' ? undefined : folded!];
    });
}

/** What it makes of expressions in which `groups` stand for expressions of their own. */
export function askClusterShell(
  expressions: readonly string[],
  groups: Readonly<Record<string, string>> = {},
): Answer[] {
  const folder = mkdtempSync(join(tmpdir(), 'clustershell-'));
  try {
    writeFileSync(join(folder, 'groups.yaml'), JSON.stringify({ tags: groups }));
    writeFileSync(join(folder, 'groups.conf'), `[Main]\ndefault: tags\nautodir: ${folder}\n`);
    const script = `
import sys
from ClusterShell.NodeSet import NodeSet, set_std_group_resolver_config
set_std_group_resolver_config(sys.argv[1])
for line in sys.stdin:
    nodes = NodeSet(line.rstrip('\\n'))
    print(nodes, '|', ' '.join(nodes))
`;
    const output = execFileSync('/usr/bin/python3', ['-c', script, join(folder, 'groups.conf')], {
      input: `${expressions.join('\n')}\n`,
      encoding: 'utf8',
    });
    return output
      .trimEnd()
      .split('\n')
      .map((line) => {
        const [folded, names] = line.split('|');
        return { folded: folded!.trim(), names: names!.trim().split(' ').filter(Boolean) };
      });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Its command `nodeset`. */
export function nodeset(words: readonly string[], input = ''): string {
  return execFileSync('nodeset', words, { input, encoding: 'utf8' });
}

/** The nodes of each expression, where a file of this name is in the folder of its groups; `first` is its default source. */
export function askClusterShellFile(
  file: string,
  text: string,
  first: string,
  expressions: readonly string[],
): string[][] {
  const folder = mkdtempSync(join(tmpdir(), 'clustershell-'));
  try {
    writeFileSync(join(folder, file), text);
    const flat = `[local]\nmap: sed -n 's/^$GROUP:\\(.*\\)/\\1/p' ${join(folder, file)}\n`;
    writeFileSync(
      join(folder, 'groups.conf'),
      `[Main]\ndefault: ${first}\nautodir: ${folder}\n${file.endsWith('.cfg') ? flat : ''}`,
    );
    const script = `
import sys
from ClusterShell.NodeSet import NodeSet, set_std_group_resolver_config
set_std_group_resolver_config(sys.argv[1])
for line in sys.stdin:
    print(' '.join(NodeSet(line.rstrip('\\n'))))
`;
    const output = execFileSync('/usr/bin/python3', ['-c', script, join(folder, 'groups.conf')], {
      input: `${expressions.join('\n')}\n`,
      encoding: 'utf8',
    });
    const lines = output.split('\n').slice(0, expressions.length);
    return lines.map((line) => line.split(' ').filter(Boolean));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

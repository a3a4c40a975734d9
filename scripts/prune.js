/** Part of the build: removes tsc's output for deleted sources, which tsc leaves behind and npm would pack. */
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const packages = fileURLToPath(new URL('../packages/', import.meta.url));
const DECLARATIONS = '.d.ts';

for (const name of readdirSync(packages)) {
  const [dist, src] = [join(packages, name, 'dist'), join(packages, name, 'src')];
  for (const file of readdirSync(dist, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith(DECLARATIONS)) continue;
    const made = file.slice(0, -DECLARATIONS.length);
    if (existsSync(join(src, `${made}.ts`))) continue;
    for (const kind of ['.js', '.js.map', DECLARATIONS, `${DECLARATIONS}.map`])
      rmSync(join(dist, made + kind), { force: true });
  }
}

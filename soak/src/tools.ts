/**
 * npm run soak -- tools [SEED]: packages/sendall/test/tools with the sizes of real use (trees of 5,000 files and 1 GiB,
 * a repository of 50 MB) instead of small ones. It needs what `npm test` installs.
 */
import { spawnSync } from 'node:child_process';

const [seed] = process.argv.slice(2);
const words = ['vitest', 'run', 'packages/sendall/test/tools', '--maxWorkers=1', '--reporter=verbose'];
const env = { ...process.env, TOOLS_SIZES: 'full', ...(seed === undefined ? {} : { TEST_SEED: seed }) };
process.exit(spawnSync('npx', words, { env, stdio: 'inherit' }).status ?? 1);

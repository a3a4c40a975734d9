/** This package's version, as it is told to peers. */
import { createRequire } from 'node:module';

// This file's folder and that of the bundle it is part of lie equally deep in the package.
export const VERSION: string = (createRequire(import.meta.url)('../../package.json') as { version: string }).version;

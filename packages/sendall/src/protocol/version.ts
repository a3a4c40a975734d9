/** This package's version, as peers hear it. */
import { createRequire } from 'node:module';

// This file's folder and that of the bundle it is part of lie equally deep in the package.
export const VERSION: string = (createRequire(import.meta.url)('../../package.json') as { version: string }).version;

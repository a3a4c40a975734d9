/** The files of the page, and the headers of every answer. */
import { readdirSync, readFileSync } from 'node:fs';
import { SendallError } from '../errors.js';

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html',
  css: 'text/css',
  js: 'text/javascript',
  svg: 'image/svg+xml',
};
const NAME = /^[\w-]+\.(html|css|js|svg)$/;

export interface Asset {
  readonly type: string;
  readonly body: Buffer;
}

/** The built page by path, in memory: it does not change while the console runs. @throws SendallError when it is missing. */
export function readAssets(): ReadonlyMap<string, Asset> {
  // From dist/console, and from the bundle beside it.
  const folder = new URL('../console/page/', import.meta.url);
  const assets = new Map<string, Asset>();
  try {
    for (const name of readdirSync(folder)) {
      const kind = NAME.exec(name)?.[1];
      if (kind === undefined) continue;
      const body = readFileSync(new URL(name, folder));
      assets.set(name === 'index.html' ? '/' : `/${name}`, { type: `${TYPES[kind]}; charset=utf-8`, body });
    }
  } catch (cause) {
    throw new SendallError('NO_PAGE', `the console's page is not built: ${folder.pathname} cannot be read`, { cause });
  }
  return assets;
}

/**
 * Headers of every answer. The page runs its own scripts only, sends nothing elsewhere, stands in no frame, and its
 * window is not reachable from others. `authority`: the host and port that it connects to.
 */
export const headersFor = (authority: string): Readonly<Record<string, string>> => ({
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    `connect-src 'self' ws://${authority}`,
    "frame-ancestors 'none'",
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; '),
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=()',
  'cache-control': 'no-store',
});

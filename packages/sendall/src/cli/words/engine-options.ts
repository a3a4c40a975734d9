/** Options that name the files for a connection to the broker. */
import { resolve } from 'node:path';
import type { EngineFiles } from '../../internal.js';
import { under, type Arguments } from './command.js';

const HEADING = 'The broker';

export const engineOptions = under(HEADING, {
  creds: {
    value: 'FILE',
    help: 'credentials for the broker: a .creds file, or a file with one line USER:PASSWORD',
    complete: 'file',
  },
  nkey: { value: 'FILE', help: 'the seed of an NKey for the broker', complete: 'file' },
  'tls-ca': { value: 'FILE', help: 'certificates of the broker’s authority (default: the system’s)', complete: 'file' },
  'tls-cert': { value: 'FILE', help: 'a certificate to show to the broker', complete: 'file' },
  'tls-key': { value: 'FILE', help: 'that certificate’s private key', complete: 'file' },
});

/** The files that were given, by absolute paths. */
export function engineFilesOf(args: Arguments): EngineFiles {
  const files = {
    creds: args.text('creds'),
    nkey: args.text('nkey'),
    tlsCa: args.text('tls-ca'),
    tlsCert: args.text('tls-cert'),
    tlsKey: args.text('tls-key'),
  };
  const given = Object.entries(files).flatMap(([name, path]) => (path === undefined ? [] : [[name, resolve(path)]]));
  return Object.fromEntries(given) as EngineFiles;
}

/** The words that say the same. */
export function engineWords({ creds, nkey, tlsCa, tlsCert, tlsKey }: EngineFiles): string[] {
  const words = { creds, nkey, 'tls-ca': tlsCa, 'tls-cert': tlsCert, 'tls-key': tlsKey };
  return Object.entries(words).flatMap(([name, path]) => (path === undefined ? [] : [`--${name}`, path]));
}

/** Descriptions of proxies, as words of a command line and as a file. */
import { readFile } from 'node:fs/promises';
import * as v from 'valibot';
import { faultOption, readFaults } from '../faults/values.js';
import type { DirectedFaultOptions } from '../faults/index.js';
import { proxyRequest, type ProxyRequest } from './proxies.js';
import { toxicsOf } from './toxics.js';

/** Most bytes of a file of proxies. */
const LARGEST_FILE = 1 << 20;

/**
 * Reads `NAME=LISTEN,TO,latency=20,up.slice=3,seed=7,record=FILE`: two addresses, then what may follow.
 * @param all faults of all proxies, which the word's own replace
 * @throws Error that names the word and what is wrong with it
 */
export function readProxyWord(word: string, all: DirectedFaultOptions): ProxyRequest {
  const equals = word.indexOf('=');
  const name = word.slice(0, Math.max(0, equals));
  const [listen = '', upstream = '', ...settings] = word.slice(equals + 1).split(',');
  const wrong = (why: string) => new Error(`"${word}" describes no proxy: ${why}`);
  if (!/^[\w.-]{1,100}$/.test(name) || listen === '' || upstream === '') {
    throw wrong(
      'expected NAME=LISTEN,TO and settings behind commas, such as latency=20, up.slice=3, seed=7, record=FILE',
    );
  }
  const options: DirectedFaultOptions = { ...all, up: { ...all.up }, down: { ...all.down } };
  let seed: number | undefined;
  let record: string | undefined;
  for (const setting of settings) {
    const [key, value] = splitOnce(setting);
    if (key === 'seed') {
      if (value === undefined || !/^\d{1,10}$/.test(value))
        throw wrong(`seed takes a whole number, not "${value ?? ''}"`);
      seed = Number(value);
    } else if (key === 'record') {
      if (!value) throw wrong('record takes a file');
      record = value;
    } else {
      try {
        if (key.startsWith('up.')) Object.assign(options.up!, readFaults(setting.slice(3), 'up'));
        else if (key.startsWith('down.')) Object.assign(options.down!, readFaults(setting.slice(5), 'down'));
        else {
          const own = faultOption(key, value);
          Object.assign(options, own);
          // A fault of both directions takes the place of what all proxies have in one.
          for (const each of Object.keys(own) as (keyof typeof own)[]) {
            delete options.up?.[each];
            delete options.down?.[each];
          }
        }
      } catch (error) {
        throw wrong((error as Error).message);
      }
    }
  }
  return {
    name,
    listen,
    upstream,
    toxics: toxicsOf(options).map((toxic) => ({ ...toxic })),
    ...(seed !== undefined && { seed }),
    ...(record !== undefined && { record }),
  };
}

function splitOnce(setting: string): [key: string, value: string | undefined] {
  const equals = setting.indexOf('=');
  return equals < 0 ? [setting, undefined] : [setting.slice(0, equals), setting.slice(equals + 1)];
}

/**
 * Reads a file of proxies: a JSON list as toxiproxy's `-config` takes it, with `seed` and `record` besides.
 * @throws Error that names the file and what is wrong with it
 */
export async function readProxyFile(path: string): Promise<ProxyRequest[]> {
  const text = await readFile(path);
  if (text.length > LARGEST_FILE) throw new Error(`${path} has more than ${LARGEST_FILE} bytes`);
  let value: unknown;
  try {
    value = JSON.parse(text.toString());
  } catch (error) {
    throw new Error(`${path} is not JSON: ${(error as Error).message}`, { cause: error });
  }
  const result = v.safeParse(v.array(proxyRequest), value, { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  throw new Error(`${path} describes no proxies: ${v.getDotPath(issue) ?? 'it'}: ${issue.message}`);
}

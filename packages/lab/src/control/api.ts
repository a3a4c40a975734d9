/** The requests of the control socket, in the shape of toxiproxy's HTTP API. */
import * as v from 'valibot';
import { ControlError } from './error.js';
import { proxyChange, proxyRequest, type Proxies, type ProxyState } from './proxies.js';
import { toxicRequest } from './toxics.js';

/** The answer to a request; without a body for 204. */
export interface ControlAnswer {
  readonly status: number;
  readonly body?: unknown;
}

/** Most proxies in one request to /populate. */
const MOST_POPULATED = 1000;

const changes = new Set(['POST', 'PATCH']);

/**
 * @param path without a query
 * @param body the parsed JSON, if there was any
 * @throws ControlError with the status of the answer
 */
export async function answerControl(
  proxies: Proxies,
  version: string,
  method: string,
  path: string,
  body: unknown,
): Promise<ControlAnswer> {
  const [first, ...rest] = segments(path);
  const [proxy, second, toxic, more] = rest;
  const whole = rest.length;
  if (first === 'version' && whole === 0 && method === 'GET') return { status: 200, body: { version } };
  if (first === 'reset' && whole === 0 && method === 'POST') {
    await proxies.reset();
    return { status: 204 };
  }
  if (first === 'populate' && whole === 0 && method === 'POST') {
    const list = read(v.pipe(v.array(proxyRequest), v.maxLength(MOST_POPULATED)), body);
    list.forEach(refuseRecord);
    return { status: 201, body: { proxies: await proxies.populate(list) } };
  }
  if (first !== 'proxies' || more !== undefined || (second !== undefined && second !== 'toxics')) {
    throw new ControlError(404, 'not found');
  }
  if (proxy === undefined) {
    if (method === 'GET') return { status: 200, body: byName(proxies.list()) };
    if (method === 'POST') {
      const request = read(proxyRequest, body);
      refuseRecord(request);
      return { status: 201, body: await proxies.add(request) };
    }
  } else if (second === undefined) {
    if (method === 'GET') return { status: 200, body: proxies.get(proxy) };
    if (changes.has(method)) return { status: 200, body: await proxies.change(proxy, read(proxyChange, body)) };
    if (method === 'DELETE') {
      await proxies.remove(proxy);
      return { status: 204 };
    }
  } else if (toxic === undefined) {
    if (method === 'GET') return { status: 200, body: proxies.get(proxy).toxics };
    if (method === 'POST') return { status: 200, body: await proxies.addToxic(proxy, read(toxicRequest, body)) };
  } else {
    if (method === 'GET') return { status: 200, body: proxies.toxic(proxy, toxic) };
    if (changes.has(method)) {
      return { status: 200, body: await proxies.changeToxic(proxy, toxic, read(toxicRequest, body)) };
    }
    if (method === 'DELETE') {
      await proxies.removeToxic(proxy, toxic);
      return { status: 204 };
    }
  }
  throw new ControlError(405, `${method} is not for this path`);
}

function segments(path: string): string[] {
  try {
    return path.split('/').filter(Boolean).map(decodeURIComponent);
  } catch {
    throw new ControlError(400, 'the path is not valid');
  }
}

function byName(list: readonly ProxyState[]): Record<string, ProxyState> {
  return Object.fromEntries(list.map((proxy) => [proxy.name, proxy]));
}

/** Files are for those who started the program to name. */
function refuseRecord({ record }: { readonly record?: string | undefined }): void {
  if (record !== undefined) throw new ControlError(400, 'record is for the command line only');
}

function read<T extends v.GenericSchema>(schema: T, body: unknown): v.InferOutput<T> {
  if (body === undefined) throw new ControlError(400, 'bad request body: it is missing');
  const result = v.safeParse(schema, body, { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  throw new ControlError(400, `bad request body: ${v.getDotPath(issue) ?? 'it'}: ${issue.message}`);
}

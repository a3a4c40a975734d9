/**
 * Preloaded with --import: counts the JavaScript files that a program loads and writes the number to the file named by
 * COUNT_MODULES. Its own modules do not count.
 */
import { writeFileSync } from 'node:fs';
import { Module, register } from 'node:module';
import { pathToFileURL } from 'node:url';
import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads';

/** An internal table of Node: the loader for each file extension. */
interface Loaders {
  _extensions: Record<string, (module: NodeModule, name: string) => unknown>;
}

const file = process.env.COUNT_MODULES ?? '';
const loaded = new Set<string>();
const { port1, port2 } = new MessageChannel();
const hooks = `
  let port;
  export function initialize(it) { port = it; }
  export async function load(url, context, next) {
    if (url.startsWith('file:')) port.postMessage(url);
    return await next(url, context);
  }`;
register(`data:text/javascript,${encodeURIComponent(hooks)}`, { data: port2, transferList: [port2] });
port1.unref();

// CommonJS modules required by others bypass the hooks above.
for (const extension of ['.js', '.cjs', '.json', '.node']) {
  const extensions = (Module as unknown as Loaders)._extensions;
  const load = extensions[extension] ?? extensions['.js'];
  extensions[extension] = (module, name) => {
    loaded.add(pathToFileURL(name).href);
    return load(module, name);
  };
}

process.on('exit', () => {
  for (let message = receiveMessageOnPort(port1); message; message = receiveMessageOnPort(port1))
    loaded.add(message.message);
  writeFileSync(file, [...loaded].join('\n'));
});

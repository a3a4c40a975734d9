/** Recognizes bytes that a web page made a browser send. */
import { isUtf8 } from 'node:buffer';

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH', 'PRI'];

/**
 * Why bytes must not be run as a command, or `undefined` when they may be. A web page can make the user's browser send
 * bytes to any port of this machine, and the browser runs as the same user. Such bytes begin like HTTP, are a TLS
 * record, or (QUIC, WebRTC) contain a NUL.
 */
export function whyRefuse(command: Buffer): string | undefined {
  if (command.includes(0)) return 'it holds a NUL byte';
  if (command[0]! >= 0x14 && command[0]! <= 0x18 && (command[1] === 3 || command[1] === 0xfe)) {
    return 'it begins like a TLS record';
  }
  const firstLine = command.toString('latin1').split(/\r?\n/, 1)[0]!;
  const word = firstLine.split(' ', 1)[0]!;
  const begun = word === firstLine; // perhaps only the method has arrived so far
  if (
    METHODS.some((method) => (begun ? method.startsWith(word) : method === word)) ||
    /^\S+ \S+ HTTP\/\d(\.\d)?$/.test(firstLine)
  ) {
    return 'it begins like an HTTP request';
  }
  if (!isUtf8(command)) return 'it is not UTF-8';
  return undefined;
}

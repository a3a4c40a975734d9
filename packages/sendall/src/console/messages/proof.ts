/**
 * How a page and its console show each other that they have the same key, without saying it: each answers the other's
 * random number with a code that only the key makes (HMAC-SHA-256, RFC 2104). So a program that takes the port after
 * the console's end learns no key, and gets nothing from the page.
 */

/** Who proves: the proof of one side is none for the other. */
export type Side = 'console' | 'page';

/** The numbers of a greeting. */
export interface Nonces {
  readonly page: string;
  readonly console: string;
}

const hex = (bytes: Uint8Array): string => [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');

async function codeOf(key: string, said: string): Promise<string> {
  const encoder = new TextEncoder();
  const algorithm = { name: 'HMAC', hash: 'SHA-256' };
  const made = await crypto.subtle.importKey('raw', encoder.encode(key), algorithm, false, ['sign']);
  return hex(new Uint8Array(await crypto.subtle.sign('HMAC', made, encoder.encode(said))));
}

/** 128 random bits. */
export const newNonce = (): string => hex(crypto.getRandomValues(new Uint8Array(16)));

/** By which a page names its key; it does not tell the key. */
export const keyName = async (key: string): Promise<string> => await codeOf(key, 'name');

/** Shows, for this greeting alone, that a side has the key. */
export const proofOf = async (key: string, side: Side, nonces: Nonces): Promise<string> =>
  await codeOf(key, `${side} ${nonces.page} ${nonces.console}`);

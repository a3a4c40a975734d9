// A port is hit by what was meant for another one more often than by an attack, and "a frame of 1195725856 bytes" does
// not tell anybody that these are the letters "GET ".

const beginnings: readonly (readonly [RegExp, string])[] = [
  [
    /^(?:GET|POST|PUT|HEAD|DELETE|OPTIONS|PATCH|CONNECT|TRACE) |^(?:POST|DELE|OPTI|PATC|CONN|TRAC)$|^PRI \*/,
    'the bytes begin like an HTTP request',
  ],
  [/^HTTP(?:\/|$)/, 'the bytes begin like an HTTP answer'],
  [/^SSH-/, 'the bytes begin like an SSH banner'],
  [/^\x16\x03[\x00-\x04]/, 'the bytes begin like a TLS handshake: the other side speaks TLS'],
  [/^\x15\x03[\x00-\x04]/, 'the bytes begin like a TLS alert: the other side speaks TLS'],
  [/^PROXY |^\r\n\r\n\x00\r\nQUIT\n/, 'the bytes begin like a PROXY protocol header'],
  [/^[{[]\s*["{[\]}\d]/, 'the bytes begin like JSON text'],
];

/** What the first bytes of a refused frame look like, if they look like anything known. */
export function hintFor(head: Buffer): string | undefined {
  const text = head.toString('latin1');
  return beginnings.find(([pattern]) => pattern.test(text))?.[1];
}

/** Guesses at the mistake behind a refused frame, from its first bytes. */
// Bytes meant for another port are more common than attacks, and "a frame of 1195725856 bytes" hides that these are the
// letters "GET ".

// oxlint-disable no-control-regex -- these are looked for
const beginnings: readonly (readonly [string, RegExp])[] = [
  ['the bytes begin like an HTTP request', /^(?:GET|PUT|POST|HEAD|DELE|OPTI|PATC|CONN|TRAC|PRI) ?/],
  ['the bytes begin like an HTTP answer', /^HTTP/],
  ['the bytes begin like an SSH banner', /^SSH-/],
  ['the bytes begin like a PROXY protocol header', /^PROX/],
  ['the bytes begin like an AMQP protocol header', /^AMQP/],
  ["the bytes begin like a PostgreSQL client's first message", /^\0\0..(?:\0\x03\0|\x04\xd2\x16[./0])/s],
  ['the bytes begin like syslog with octet counting: octetCounting()', /^[1-9]\d{0,15} <\d{1,3}>/],
  ['the bytes begin like a syslog message without a length: lines()', /^<\d{1,3}>/],
  ['the bytes begin like JSON text', /^[{[]\s*["{[\]}\d]/],
];

/** What the first bytes of a refused frame look like, where they look like something known. */
export function hintFor(head: Buffer): string | undefined {
  const [type, major, minor = 1] = head;
  if (major === 3 && minor <= 4) {
    if (type === 0x16) return 'the bytes begin like a TLS handshake: the other side speaks TLS';
    if (type === 0x15) return 'the bytes begin like a TLS alert: the other side speaks TLS';
  }
  const text = head.toString('latin1');
  return beginnings.find(([, pattern]) => pattern.test(text))?.[0];
}

/**
 * Failures of accept(2) that say something about one client or about a moment, not about the listening socket.
 * Linux passes pending network errors of the new socket on from accept(2) (see its manual page): they are retried
 * as EAGAIN would be. EMFILE and ENFILE never come here: libuv accepts and closes with a descriptor it keeps for that,
 * so they are seen beforehand, by the budget of descriptors.
 */
const transient = new Set([
  'ECONNABORTED', // the client gave up while it waited in the queue
  'EINTR',
  'EPROTO',
  'ENOPROTOOPT',
  'ENETDOWN',
  'ENETUNREACH',
  'EHOSTDOWN',
  'EHOSTUNREACH',
  'ENONET',
  'EOPNOTSUPP',
  'ETIMEDOUT',
  'EPERM', // a firewall rule
  'ENOBUFS',
  'ENOMEM',
  'EMFILE',
  'ENFILE',
]);

export function isTransient(code: string): boolean {
  return transient.has(code);
}

/** Which host an error is about, for messages: an error itself may come from a place that knows only an address. */

const hosts = new WeakMap<object, string>();

/** Notes that an error is about this host; returns it. */
export function aboutHost(host: string, error: unknown): unknown {
  if (typeof error === 'object' && error !== null) hosts.set(error, host);
  return error;
}

/** The message of an error, behind the name of its host. */
export function namingHost(error: unknown, message: string): string {
  const host = typeof error === 'object' && error !== null ? hosts.get(error) : undefined;
  return host === undefined || message.startsWith(`${host} `) ? message : `${host}: ${message}`;
}

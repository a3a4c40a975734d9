/** The answer to `-G`: what programs that ask ssh for its settings look for. */
import { userInfo } from 'node:os';
import { canonicalNetworkUrl, parseTlsUrl } from '../../internal.js';
import type { Call } from './call.js';
import { placeOf } from './destination.js';

/** The port that ssh names where nothing else is known. */
const SSH_PORT = 22;

/** Lines of `key value`, the keys in lower case. */
export function settingsOf(call: Call): string[] {
  const { host, hostName = host, user = ownName(), connectTimeout, requestTty = 'auto' } = call;
  return [
    `host ${host}`,
    `user ${user}`,
    `hostname ${hostName}`,
    `port ${call.port ?? portAt(hostName)}`,
    `requesttty ${requestTty === 'yes' ? 'true' : requestTty}`,
    `connecttimeout ${connectTimeout ? connectTimeout / 1000 : 'none'}`,
    'forwardagent no',
    'forwardx11 no',
    'stricthostkeychecking true',
    'proxyjump none',
    ...call.sendEnv.map((name) => `sendenv ${name}`),
  ];
}

function ownName(): string {
  try {
    return userInfo().username;
  } catch {
    return String(process.getuid?.() ?? 'user');
  }
}

function portAt(name: string): number {
  const { url } = placeOf(name, undefined);
  return url?.startsWith('tls://') ? parseTlsUrl(canonicalNetworkUrl(url)).port : SSH_PORT;
}

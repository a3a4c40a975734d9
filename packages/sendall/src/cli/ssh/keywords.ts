/** The settings behind `-o`: understood, ignored where they change nothing, or refused by their name. */
import { UsageError } from '../../errors.js';
import type { CallDraft } from './call.js';
import { envPairs, namesToSend } from './variables.js';

/** Ignored with any value: warm links, pinned keys and the agent's own limits stand in their place. */
const ignored = new Set([
  'controlmaster',
  'controlpath',
  'controlpersist',
  'compression',
  'loglevel',
  'serveraliveinterval',
  'serveralivecountmax',
  'numberofpasswordprompts',
  'preferredauthentications',
  'identityfile',
  'identitiesonly',
  'userknownhostsfile',
  'globalknownhostsfile',
  'stricthostkeychecking',
]);
/** PubkeyAuthentication and so on. */
const AUTHENTICATION = /^[a-z]+authentication$/;

/** Ignored with the one value that changes nothing. */
const onlyAs: Readonly<Record<string, string>> = {
  forwardx11: 'no',
  forwardagent: 'no',
  permitlocalcommand: 'no',
  clearallforwardings: 'yes',
  proxycommand: 'none',
  proxyjump: 'none',
  remotecommand: 'none',
};

const UNITS: Readonly<Record<string, number>> = { '': 1, s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };

const obeyed: Readonly<Record<string, (value: string, call: CallDraft) => void>> = {
  user: (value, call) => (call.user ??= value),
  port: (value, call) => (call.port ??= portOf(value, '-o Port')),
  hostname: (value, call) => (call.hostName ??= value),
  connecttimeout: (value, call) => (call.connectTimeout ??= timeOf(value)),
  batchmode: (value) => void switchOf(value, 'BatchMode'),
  requesttty(value, call) {
    if (value !== 'auto' && value !== 'force') call.requestTty ??= switchOf(value, 'RequestTTY') ? 'yes' : 'no';
    else call.requestTty ??= value;
  },
  setenv: (value, call) => void call.setEnv.push(...envPairs(value)),
  sendenv: (value, call) => void call.sendEnv.push(...namesToSend(value)),
};

/**
 * Obeys one `-o`: `Key=value` or `Key value`, the key in any case.
 * @throws UsageError that names the key.
 */
export function obey(setting: string, call: CallDraft): void {
  const [, key = '', text = ''] = /^\s*([A-Za-z0-9]+)(?:\s*=\s*|\s+)(.*?)\s*$/s.exec(setting) ?? [];
  if (!key || !text) throw new UsageError(`-o ${JSON.stringify(setting.slice(0, 200))} is not KEY=VALUE`);
  const name = key.toLowerCase();
  if (name === 'setenv' || name === 'sendenv') return obeyed[name]!(text, call);
  const value = unquoted(text);
  if (Object.hasOwn(obeyed, name)) return obeyed[name]!(value, call);
  if (ignored.has(name) || AUTHENTICATION.test(name)) return;
  const only = Object.hasOwn(onlyAs, name) ? onlyAs[name] : undefined;
  if (only === undefined)
    throw new UsageError(`-o ${key} is not understood: docs/sendall/ssh.md lists the settings that are`);
  if (plain(value) !== only) throw new UsageError(`-o ${key}=${value.slice(0, 80)} is refused: it can only be ${only}`);
}

/** The usual values, in any case. */
function plain(value: string): string {
  const word = value.toLowerCase();
  return word === 'true' ? 'yes' : word === 'false' ? 'no' : word;
}

function switchOf(value: string, key: string): boolean {
  const word = plain(value);
  if (word !== 'yes' && word !== 'no') throw new UsageError(`-o ${key}: "${value}" is neither yes nor no`);
  return word === 'yes';
}

/**
 * A port's number.
 * @throws UsageError that begins with `what`.
 */
export function portOf(text: string, what: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (port < 1 || port > 65_535) throw new UsageError(`${what}: "${text}" is not a port from 1 to 65535`);
  return port;
}

/** Milliseconds of "10", "1m30s" or "none", which means our own limit. Source: ssh_config(5), time formats. */
function timeOf(text: string): number {
  if (text.toLowerCase() === 'none') return 0;
  const parts = [...text.matchAll(/(\d{1,9})([smhdw]?)/gi)];
  const seconds = parts.reduce((sum, [, digits, unit]) => sum + Number(digits) * UNITS[unit!.toLowerCase()]!, 0);
  if (!parts.length || parts.map(([part]) => part).join('') !== text)
    throw new UsageError(`-o ConnectTimeout: "${text}" is not a time such as 10 or 1m`);
  return seconds * 1000;
}

function unquoted(text: string): string {
  return text.length > 1 && text.startsWith('"') && text.endsWith('"') ? text.slice(1, -1) : text;
}

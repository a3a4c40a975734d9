/**
 * What a host must be able to do before a run may be sent to it. A host of an older version would skip a field that it
 * does not know, and start the command without what the field asks for.
 */
import {
  FORWARDS,
  HAS_LOG,
  KEEPS_NOTHING,
  OBEYS_LIMITS,
  TAKES_SECRETS,
  TRANSFERS,
  USES_ACCOUNT_SHELL,
  type Spec,
} from '../../protocol/messages.js';

/** Something that not every host can do. */
export interface Need {
  /** As AUTH_OK names it. */
  readonly feature: string;
  /** Completes "the host's sendall". */
  readonly lack: string;
}

/** What a run with this spec, and with `syncLog`, needs. Such a run waits for AUTH_OK: what an earlier link told of the host may be out of date. */
export function neededFeatures(spec: Spec, syncLog: boolean): readonly Need[] {
  const { verb, limits, secrets, accountShell, passing } = spec;
  const needs: Need[] = [];
  if (verb === 'put' || verb === 'get') needs.push({ feature: TRANSFERS, lack: 'transfers no files' });
  if (verb === 'forward') needs.push({ feature: FORWARDS, lack: 'forwards no connections' });
  if (accountShell) needs.push({ feature: USES_ACCOUNT_SHELL, lack: 'starts no shells of accounts' });
  if (passing) needs.push({ feature: KEEPS_NOTHING, lack: 'keeps the output of every run' });
  if (limits) needs.push({ feature: OBEYS_LIMITS, lack: 'obeys no limits' });
  if (secrets.length) needs.push({ feature: TAKES_SECRETS, lack: 'takes no secrets' });
  if (syncLog) needs.push({ feature: HAS_LOG, lack: 'has no log' });
  return needs;
}

/** Why a host with these features cannot have a run with these needs; undefined when it can. */
export function lackOf(needs: readonly Need[], features: readonly string[]): string | undefined {
  if (needs.length === 0) return undefined;
  const lacks = needs.filter(({ feature }) => !features.includes(feature));
  if (lacks.length === 0) return undefined;
  return `the host's sendall ${lacks.map(({ lack }) => lack).join(' and ')}: upgrade it there, then sendall agent restart`;
}

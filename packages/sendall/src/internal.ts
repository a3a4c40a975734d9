/**
 * Internals for our own command line, beyond the public API. Not exported by the package; may change with any version.
 */
export { Callers } from './agent/callers/callers.js';
export { acceptHead, headsIn, keptHead } from './client/audit.js';
export type { PolicyAnswer } from './agent/admission/policy-question.js';
export { LIMIT_NAMES, type LimitName } from './agent/limit-names.js';
export { addInventoryFile, addInventoryProgram } from './client/inventories/adding.js';
export { callerName } from './client/caller-name.js';
export { inventoryLimits } from './client/inventories/limits.js';
export { convert, FORMATS, type Format } from './exchange/formats.js';
export { jsonOf, yamlText } from './exchange/our-text.js';
export { checkSize } from './sets/expression.js';
export { Gatherer } from './fleet/gather.js';
export { Turn } from './client/turn.js';
export { MAX_BLOB } from './fleet/history/blobs.js';
export { History } from './fleet/history/history.js';
export { noteRun } from './fleet/history/note.js';
export { hostStateOf, type PastRun, type PastState } from './fleet/history/past-run.js';
export type { Recording } from './fleet/history/recording.js';
export { selectHosts, selections } from './fleet/history/selection.js';
export { HostWords, resolveTargets } from './fleet/targets.js';
export { completeEngine, readEngine, removeEngine, writeEngine, type EngineFiles } from './keys/engine.js';
export { DEFAULT_IDENTITY, identityNames, loadIdentity, newNamedIdentity, removeIdentity } from './keys/identity.js';
export { lintPolicy, readPolicyFile, ruleText } from './policy/own-policy.js';
export { parsePolicy, PolicyError } from './policy/parse.js';
export { VERBS } from './policy/rules.js';
export type { Card } from './link/nats/card.js';
export type { EngineStatus } from './link/nats/discover.js';
export { isNatsHost, natsHostOf, NO_ENGINE } from './text/nats-address.js';
export { askWarmLinks } from './link/warm/client.js';
export { discover, openWarmLinks } from './on-demand.js';
export { isSecretName, SECRET_NAME } from './protocol/secrets.js';
export { TERMINAL_NAME } from './protocol/codec.js';
export { signalNumber } from './protocol/signals.js';
export { canonicalNetworkUrl, formatTlsUrl, parseTlsUrl } from './text/address.js';
export { ownWords } from './text/own-words.js';
export { readSize } from './text/size.js';
export { ScreenModes } from './text/screen-modes.js';

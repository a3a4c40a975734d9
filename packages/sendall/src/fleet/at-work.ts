/** What a fleet needs once it works. It is loaded then: a program that only connects does without. */
export { SharedOutputs } from '../client/run/shared-outputs.js';
export { Meeting } from '../client/streams/meeting.js';
export { Turn } from '../client/turn.js';
export { Broadcast, MAX_SHARED_STDIN } from './broadcast.js';
export { Dialling, reachError } from './dialling.js';
export { Gatherer } from './gather.js';
export { SharedReads } from './shared-reads.js';

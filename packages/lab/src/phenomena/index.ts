/** All phenomena, in the chapter's order. */
import { concurrency } from './concurrency.js';
import { empty } from './empty.js';
import { leftover } from './leftover.js';
import { loss } from './loss.js';
import type { Phenomenon } from './phenomenon.js';
import { prefix } from './prefix.js';
import { ready } from './ready.js';
import { rtt } from './rtt.js';
import { sticky } from './sticky.js';
import { udp } from './udp.js';

export type { Observation, Phenomenon, Plot, Shown, Table } from './phenomenon.js';

/** The chapter's story in order: two phenomena, the contrast, reliability, two cures, their cost, many clients. */
export const phenomena: readonly Phenomenon[] = [sticky, leftover, udp, empty, loss, ready, prefix, rtt, concurrency];

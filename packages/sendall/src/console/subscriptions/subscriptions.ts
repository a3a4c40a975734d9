/** What serves each kind of subscription. */
import type { Kind } from '../messages.js';
import { audit } from './audit.js';
import type { Feed } from './feed.js';
import { fleet } from './fleet.js';
import { hosts } from './hosts.js';
import { output, terminal } from './output.js';
import { runs } from './runs.js';

export const feeds: { readonly [K in Kind]: Feed<K> } = { hosts, runs, output, terminal, fleet, audit };

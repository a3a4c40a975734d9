/** What all pages of one console share. */
import type { Home } from '../home.js';
import { AllHosts, type ConnectOptions } from '../index.js';
import { History } from '../internal.js';
import type { Access } from './access.js';
import type { Ahead } from './ahead.js';
import type { Fleets } from './fleets.js';
import type { ConsoleLimits } from './limits.js';
import type { Links } from './links.js';
import type { Tickets } from './tickets.js';

export interface Context {
  readonly home: Home;
  readonly readOnly: boolean;
  readonly limits: ConsoleLimits;
  /** Where the pages are, such as http://127.0.0.1:7434 */
  readonly origin: string;
  readonly access: Access;
  readonly tickets: Tickets;
  readonly connectOptions: ConnectOptions;
  readonly links: Links;
  readonly fleets: Fleets;
  readonly ahead: Ahead;
}

export const hostsOf = ({ home }: Pick<Context, 'home'>): AllHosts => AllHosts.of(home);
export const historyOf = ({ home }: Pick<Context, 'home'>): History => new History(home);

/** What the console takes at most from pages, and holds for them. */

export interface ConsoleLimits {
  /** Open pages. */
  readonly pages: number;
  /** Of these, pages that came by an address for watching: its holders cannot keep the user out. */
  readonly watchers: number;
  /** Sockets that have not said their token yet; the oldest goes when there are more. */
  readonly strangers: number;
  /** Milliseconds until a socket must have said its token. */
  readonly helloTimeout: number;
  /** Milliseconds between two checks that a page still answers. */
  readonly pingInterval: number;
  /** Bytes of a request's header. */
  readonly headerBytes: number;
  /** TCP connections. */
  readonly connections: number;
  /** Bytes of a message of a page. */
  readonly messageBytes: number;
  /** Requests of a page without an answer. */
  readonly requests: number;
  /** Subscriptions of a page. */
  readonly subscriptions: number;
  /** Of these, attachments to runs. */
  readonly attachments: number;
  /** The same of a page that came by an address for watching: all of them leave room for others at a run. */
  readonly watchAttachments: number;
  /** Subscriptions of a page that are open, or that it left and that have not ended yet. */
  readonly unfinished: number;
  /** Bytes of credit of a subscription. */
  readonly creditBytes: number;
  /** Bytes that wait for a page to read them, above which nothing more is sent to it. */
  readonly waitingBytes: number;
  /** Bytes of output that all attachments together may have received ahead of their pages. */
  readonly aheadBytes: number;
  /** Links to hosts that are kept for further use. */
  readonly links: number;
  /** Milliseconds for which an unused link is kept. */
  readonly idleLink: number;
  /** Milliseconds for a host's answer to a question. */
  readonly answerTimeout: number;
  /** Hosts whose state one page watches. */
  readonly watchedHosts: number;
  /** Hosts whose runs are listed at once. */
  readonly listedHosts: number;
  /** Runs that are listed of one host. */
  readonly listedRuns: number;
  /** Fleet runs that go on in this console. */
  readonly fleets: number;
  /** Bytes of output that the history keeps of such a run. */
  readonly keepOutput: number;
  /** Commands of fleet runs that are remembered, to run them again. */
  readonly commands: number;
  /** Groups of a fleet run that are shown. */
  readonly groups: number;
  /** Bytes of a group's stream that are shown. */
  readonly sampleBytes: number;
  /** Bytes of a stream that are compared with another. */
  readonly comparedBytes: number;
  /** Bytes of output that one search reads. */
  readonly searchedBytes: number;
  /** Addresses for watching one run. */
  readonly watchLinks: number;
  /** Downloads that were asked for and are not over. */
  readonly tickets: number;
  /** Of these, downloads of pages that came by an address for watching. */
  readonly watchTickets: number;
  /** Milliseconds for which a browser may take nothing of its download. */
  readonly downloadPause: number;
  /** Milliseconds for which a one-time code or a ticket is good. */
  readonly codeTime: number;
}

const KIB = 1024;
const MIB = 1024 * 1024;

export const limits: ConsoleLimits = {
  pages: 16,
  watchers: 8,
  strangers: 16,
  helloTimeout: 10_000,
  pingInterval: 30_000,
  headerBytes: 16 * KIB,
  connections: 256,
  messageBytes: MIB,
  requests: 32,
  subscriptions: 32,
  attachments: 8,
  watchAttachments: 2,
  unfinished: 64,
  creditBytes: MIB,
  waitingBytes: MIB,
  aheadBytes: 16 * MIB,
  links: 64,
  idleLink: 30_000,
  answerTimeout: 10_000,
  watchedHosts: 256,
  listedHosts: 64,
  listedRuns: 1000,
  fleets: 8,
  keepOutput: 16 * MIB,
  commands: 100,
  groups: 200,
  sampleBytes: 16 * KIB,
  comparedBytes: 256 * KIB,
  searchedBytes: 256 * MIB,
  watchLinks: 64,
  tickets: 64,
  watchTickets: 16,
  downloadPause: 600_000,
  codeTime: 60_000,
};

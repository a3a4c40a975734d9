/** What a command line of ssh asks for. */

/** When a command gets a terminal; "auto": if there is no command and our stdin is one. */
export type RequestTty = 'auto' | 'yes' | 'force' | 'no';

/** A call while its words are read. */
export interface CallDraft {
  /** What is done: a command is run, or one of the questions is answered. */
  action: 'run' | 'settings' | 'version' | 'check' | 'exit' | 'forward';
  host?: string;
  user?: string;
  port?: number;
  /** What `-o HostName` says in place of the host. */
  hostName?: string;
  requestTty?: RequestTty;
  subsystem: boolean;
  sftpServer?: Uint8Array;
  readsStdin: boolean;
  /** The key before an escape: "~" unless said otherwise; undefined: no escapes. */
  escapeKey: number | undefined;
  quiet: boolean;
  verbose: boolean;
  logFile?: Uint8Array;
  /** The address behind `-W`. */
  forward?: string;
  /** Milliseconds; 0: our own limit. */
  connectTimeout?: number;
  readonly setEnv: Uint8Array[];
  readonly sendEnv: string[];
  identity?: string;
  via?: 'nats' | 'direct';
  shares: boolean;
  /** The words of the command. */
  command: readonly Uint8Array[];
}

/** A call that can be obeyed. */
export type Call = Readonly<CallDraft> & { readonly host: string };

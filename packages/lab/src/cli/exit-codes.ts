/** The exit codes of `wirelab`: sendall's numbers where the meaning is the same. */
export const EXIT = {
  ok: 0,
  failed: 1,
  /** `probe`: no answer to compare with. */
  notProbed: 3,
  usage: 200,
  unreachable: 201,
  /** Our output was not written completely. */
  truncated: 206,
  /** The code shells show for a program that died of SIGPIPE. */
  brokenPipe: 141,
} as const;

const UNREACHABLE = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ETIMEDOUT', 'ENOTFOUND', 'EAI_AGAIN']);

/** The exit code for an error of a command. */
export function exitCodeOf(error: unknown): number {
  if (!(error instanceof Error)) return EXIT.failed;
  if (error.name === 'UsageError') return EXIT.usage;
  const { code, syscall } = (error.cause ?? error) as NodeJS.ErrnoException;
  const dialled = syscall === 'connect' || syscall === 'getaddrinfo';
  return dialled || (code !== undefined && UNREACHABLE.has(code)) ? EXIT.unreachable : EXIT.failed;
}

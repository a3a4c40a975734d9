/** Calls to agents whose handshakes have little time: on a busy machine one may take longer, as any caller may see. */
import { until } from '../../../../test/support/waits.js';

/** Tries again until the agent lets it in. */
export async function patiently<T>(act: () => Promise<T>): Promise<T> {
  let problem: unknown;
  const done = await until(
    () =>
      act().then(
        (value) => ({ value }),
        (error: unknown) => void (problem = error),
      ),
    () => `a caller to be let in: ${String(problem)}`,
  );
  return done!.value;
}

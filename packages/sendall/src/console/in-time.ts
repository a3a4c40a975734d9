/** Waits for what hosts do as the console ends, and not for long: one may not answer. */

/** Milliseconds. */
const WITHIN = 2000;

/** Resolves when it is done, has failed, or takes too long. */
export async function inTime(done: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise((resolve) => (timer = setTimeout(resolve, WITHIN)));
  await Promise.race([done.catch(() => undefined), late]);
  clearTimeout(timer);
}

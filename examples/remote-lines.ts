// Lines as they arrive, a failure with the shape of a result, a timeout that the host enforces, and an abort.
import { RunError } from 'sendall';
import { withHost } from './with-host.js';

await withHost(async (host) => {
  for await (const line of host.sh('for i in 1 2 3; do echo line $i; done')) console.log(line);

  try {
    await host.run(['ls', '/nowhere']);
  } catch (error) {
    if (!(error instanceof RunError)) throw error;
    console.log(`${error.result.outcome} ${error.result.code}: ${error.result.stderr.trim()}`);
  }

  const slow = await host.run(['sleep', '60'], { timeout: 200, reject: false });
  console.log(`${slow.outcome}: ${slow.reason}`);

  const aborted = await host.run(['sleep', '60'], { signal: AbortSignal.timeout(200), reject: false });
  console.log(aborted.outcome);
});

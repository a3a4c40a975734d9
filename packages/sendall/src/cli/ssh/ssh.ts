/** `sendall ssh` from its words to its exit code: nothing it does ends otherwise than ssh would. */
import { answer, OutputError, say } from '../show/print.js';
import { ownVersion } from '../version.js';
import type { Call } from './call.js';
import { FAILED } from './failed.js';
import { parseCall } from './parse.js';
import { Voice } from './voice.js';

/** Does what the words ask for. Resolves to the exit code: the command's own, or 255. */
export async function ssh(words: readonly Uint8Array[]): Promise<number> {
  let voice = new Voice({ quiet: false, verbose: false });
  // Node's own code would look like the command's.
  process.once('uncaughtException', (error) => {
    voice.fail(`a fault in sendall: ${error.stack ?? error.message}`);
    process.exit(FAILED);
  });
  try {
    const call = parseCall(words);
    voice = new Voice(call);
    return await obey(call, voice);
  } catch (error) {
    if (error instanceof OutputError && error.gone) return FAILED;
    const { shortMessage, message, stack = '' } = error as Error & { shortMessage?: string };
    voice.fail(shortMessage ?? message);
    if (process.env.SENDALL_DEBUG) for (const line of stack.split('\n')) say(line);
    return FAILED;
  } finally {
    voice.close();
  }
}

async function obey(call: Call, voice: Voice): Promise<number> {
  switch (call.action) {
    case 'version':
      // On stderr, where programs that ask ssh look for it.
      say(`sendall-ssh ${ownVersion()}`);
      return 0;
    case 'settings':
      answer(...(await import('./settings.js')).settingsOf(call));
      return 0;
    case 'check':
    case 'exit':
      return await (await import('./master.js')).askMaster(call, voice);
    default:
      return await (await import('./session.js')).runCall(call, voice);
  }
}

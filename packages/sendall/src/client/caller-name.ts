/** What a caller calls itself when its key is let in. */
import { hostname, userInfo } from 'node:os';

/** USER@MACHINE: the name by which the agent's owner recognises this key. */
export function callerName(): string {
  let user = String(process.getuid?.() ?? 'someone');
  try {
    user = userInfo().username;
  } catch {
    // A user without an entry in the password file.
  }
  return `${user}@${hostname()}`.slice(0, 200);
}

/** The fault `half-close`: ends the client's direction after its first piece. */
import { text } from '../lang.js';
import type { Fault } from './fault.js';

/** After the client's first piece the server sees the end of the stream; its answers still reach the client. */
export function halfClose(): Fault {
  return {
    name: 'half-close',
    description: text(
      `the client’s side ends after its first piece, the answers still come`,
      `客户端发出第一块之后这一侧结束，回答仍然会到`,
    ),
    stage: ({ direction, note }) =>
      async function* (pieces) {
        let passed = 0;
        for await (const piece of pieces) {
          if (direction === 'down') yield piece;
          else if (passed === 0) {
            passed = piece.length;
            yield piece;
            note('half-closed', passed);
            return;
          }
        }
      },
  };
}

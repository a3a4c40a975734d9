/** The fault `corrupt`: flips bits. */
import { text } from '../lang.js';
import type { Fault } from './fault.js';

/** Flips one bit of a byte with probability `chance`. The chosen bytes depend only on the seed, not on the reads. */
export function corrupt(chance: number): Fault {
  return {
    name: 'corrupt',
    description: text(`one bit flipped in a byte with probability ${chance}`, `每个字节以 ${chance} 的概率翻转一位`),
    stage: ({ random, note }) => {
      // The distance to the next bad byte: one draw for each bad byte, not for every byte.
      const gap = () => (chance >= 1 ? 0 : Math.floor(Math.log(1 - random()) / Math.log(1 - chance)));
      return async function* (pieces) {
        let passed = 0;
        let next = gap();
        for await (const piece of pieces) {
          let bytes = piece;
          while (next < passed + piece.length) {
            if (bytes === piece) bytes = Buffer.from(piece);
            bytes[next - passed]! ^= 1 << Math.floor(random() * 8);
            note('one bit flipped', next);
            next += 1 + gap();
          }
          passed += piece.length;
          yield bytes;
        }
      };
    },
  };
}

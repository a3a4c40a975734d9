import { expect, test } from 'vitest';
import { killedTransfer } from '../dist/transfer-kills.js';
import { drawSeed } from '../../../../test/support/seed.js';
import { patience, within } from '../../../../test/support/waits.js';

const KILLS = 12;

test(
  'after a SIGKILL of either end at any byte each file is old or new, and the next transfer brings the rest',
  async () => {
    const seed = drawSeed();
    let cut = 0;
    for (let i = 0; i < KILLS; i++) {
      const report = await within(killedTransfer(`${seed}/${i}`), `transfer ${i}`);
      expect({ i, wrong: report.wrong }).toEqual({ i, wrong: [] });
      if (report.cut) cut++;
    }
    expect(cut).toBeGreaterThan(KILLS / 2);
  },
  patience(120_000),
);

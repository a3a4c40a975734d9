import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { HIGHEST_SIGNAL, signalName, signalNumber } from '../../dist/protocol/signals.js';

test('every signal has one name, which maps back to it', () => {
  for (let signal = 1; signal <= HIGHEST_SIGNAL; signal++) expect(signalNumber(signalName(signal))).toBe(signal);
});

test('names are those that a shell shows', () => {
  for (let signal = 1; signal <= HIGHEST_SIGNAL; signal++) {
    if (signal === 32 || signal === 33) continue;
    const shown = execFileSync('bash', ['-c', `kill -l ${signal}`], { encoding: 'utf8' }).trim();
    expect(signalName(signal)).toBe(`SIG${shown}`);
  }
});

test.each([
  ['SIGABRT', 6],
  ['IOT', 6],
  ['term', 15],
  ['15', 15],
  ['SIG33', 33],
  ['RTMIN', 34],
  ['rtmin+1', 35],
  ['SIGRTMAX-1', 63],
  ['RTMAX', 64],
  ['RTMIN+30', 64],
  ['RTMAX-30', 34],
])('%s is %i', (text, number) => {
  expect(signalNumber(text)).toBe(number);
});

test.each(['', 'SIG', '0', '65', '-9', '1e1', '0x9', ' 9', 'NOPE', 'RTMIN-1', 'RTMIN+31', 'RTMAX+1', 'RTMAX-31'])(
  '"%s" is no signal',
  (text) => {
    expect(signalNumber(text)).toBeUndefined();
  },
);

/** Text from a host is shown and never obeyed: one line stays one line, and no character turns or hides text. */
import { expect, test } from 'vitest';
import { escapeControl, jsonLine } from '../../dist/cli/show/control-characters.js';

const EVIL = '\u001b]0;x\u0007\u009b31m\u202eexe\u200b\u061c\u{e0041}\u2028\r\nweb2: forged\t\ud800';

test('a line of ours stays one line, and control characters are written out', () => {
  expect(escapeControl(EVIL)).toBe(
    '\\x1b]0;x\\x07\\x9b31m\\u202eexe\\u200b\\u061c\\u{e0041}\\u2028\\x0d\\nweb2: forged\\t\\ud800',
  );
  expect(escapeControl('grün 中文 😀')).toBe('grün 中文 😀');
});

test('JSON contains no terminal controls, and parses to the same value', () => {
  const value = { reason: EVIL.slice(0, -1), list: ['grün 😀', 1, null] };
  const line = jsonLine(value);
  expect(line).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
  expect(JSON.parse(line)).toEqual(value);
});

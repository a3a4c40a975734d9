/** Describes each failure of a test run in one line, from the JSON report of Vitest. */
import { relative } from 'node:path';
import { stripVTControlCharacters } from 'node:util';

/**
 * @typedef {{ numPassedTests: number, numFailedTests: number, testResults: { name: string, status: string,
 *   message?: string, assertionResults: { status: string, fullName: string, failureMessages?: string[] }[] }[] }} Report
 */

/** A message without its stack, on one line. @param {string | undefined} text */
function brief(text = '') {
  const lines = stripVTControlCharacters(text).split('\n');
  const stack = lines.findIndex((line) => /^\s+at /.test(line));
  const words = (stack < 0 ? lines : lines.slice(0, stack)).join(' ').replaceAll(/\s+/g, ' ').trim();
  return words.length > 300 ? `${words.slice(0, 300)}…` : words;
}

/**
 * One line for each failed test, and for each file that failed outside its tests.
 * @param {Report} report
 * @returns {string[]}
 */
export function failuresOf(report) {
  return report.testResults.flatMap((file) => {
    const path = relative('.', file.name);
    const tests = file.assertionResults.filter(({ status }) => status === 'failed');
    if (file.status === 'failed' && tests.length === 0) return [`${path}: ${brief(file.message)}`];
    return tests.map((test) => `${path}: ${test.fullName}: ${brief(test.failureMessages?.[0])}`);
  });
}

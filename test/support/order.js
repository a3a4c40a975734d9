// @ts-check
// The order of the test files: those that take long go first, so that the last one does not run alone for minutes.
import { relative } from 'node:path';
import { BaseSequencer } from 'vitest/node';

/** @type {Record<string, number>} Seconds on a quiet machine of two processors; what is not named takes less. */
const seconds = {};

/** @param {import('vitest/node').TestSpecification} file */
const expected = (file) => seconds[relative(file.project.config.root, file.moduleId)] ?? 0;

export class LongFirst extends BaseSequencer {
  /** @override @param {import('vitest/node').TestSpecification[]} files */
  async sort(files) {
    return (await super.sort(files)).toSorted((a, b) => expected(b) - expected(a));
  }
}

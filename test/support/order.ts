/** The order of the test files: slow ones go first, so that none runs alone for minutes at the end. */
import { relative } from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Approximate seconds on a quiet machine with two processors; other files take less. */
const seconds: Record<string, number> = {
  'packages/sendall/test/exact/cuts.test.ts': 20,
  'packages/lab/test/probe.test.ts': 50,
  'packages/sendall/test/cli/console-pages.test.ts': 40,
  'packages/sendall/test/transfer/kills.test.ts': 20,
  'packages/sendall/test/cli/ssh.test.ts': 25,
  'packages/sendall/test/cli/starter.test.ts': 35,
  'packages/sendall/test/nats/carrier.test.ts': 25,
  'packages/sendall/test/install/bare-root.test.ts': 80,
  'packages/sendall/test/install/install.test.ts': 60,
  'packages/sendall/test/cli/terminal.test.ts': 40,
  'packages/socketserver/test/rows-overload.test.ts': 40,
  'packages/socketserver/test/contract.test.ts': 40,
  'packages/socketserver/test/rows-drain.test.ts': 35,
  'packages/sendall/test/exact/broken-network.test.ts': 30,
  'packages/sendall/test/exact/hostile.test.ts': 30,
  'packages/socketserver/test/rows-requests.test.ts': 25,
  'packages/sendall/test/exact/volume.test.ts': 25,
  'packages/sendall/test/cli/hands.test.ts': 25,
  'packages/sendall/test/tools/copies.test.ts': 25,
  'packages/sendall/test/tools/backups.test.ts': 20,
  'packages/sendall/test/tools/page.test.ts': 15,
  'packages/sendall/test/exact/secrets-nowhere.test.ts': 25,
  'packages/sendall/test/fleet/twenty-agents.test.ts': 25,
  'packages/sendall/test/nats/day.test.ts': 25,
  'packages/sendall/test/fleet/network.test.ts': 25,
  'test/pack.test.ts': 25,
  'packages/socketserver/test/chaos.test.ts': 20,
  'packages/socketserver/test/workers.test.ts': 20,
  'packages/sendall/test/console/page.test.ts': 20,
  'packages/lab/test/page.test.ts': 20,
  'packages/lab/test/page-looks.test.ts': 25,
  'packages/sendall/test/exact/upgrade.test.ts': 15,
  'packages/sendall/test/exact/processes.test.ts': 15,
  'packages/sendall/test/exact/keep-trying.test.ts': 20,
  'packages/sendall/test/exact/first-flight.test.ts': 15,
  'packages/sendall/test/cli/history.test.ts': 20,
  'packages/sendall/test/cli/fleet.test.ts': 15,
  'packages/sendall/test/cli/links.test.ts': 15,
  'packages/framing/test/laws.test.ts': 15,
  'packages/lab/test/show.test.ts': 15,
  'packages/sendall/test/cli/compiled-cache.test.ts': 15,
};

const expected = (file: TestSpecification) => seconds[relative(file.project.config.root, file.moduleId)] ?? 0;

export class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]) {
    return (await super.sort(files)).toSorted((a, b) => expected(b) - expected(a));
  }
}

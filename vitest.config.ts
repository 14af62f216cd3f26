import { basename } from 'node:path';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Of a minute or more, by their share of a run in which everything has to be made. */
const LONGEST = [
  'dracut-module.test.ts',
  'prepare-root-parity.test.ts',
  'mkcomposefs-directory.test.ts',
  'ed25519.test.ts',
];

/** vitest takes a large file for a long one, and left a small one of a minute to run alone at the end. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const at = LONGEST.indexOf(basename(moduleId));
      return at < 0 ? LONGEST.length : at;
    };
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
  }
}

/**
 * Two projects. `unit` is the gate (`npm run check`): no root, no network, no oracle.
 * `real` runs against the real tools and kernel; it needs root and what tools/with-dependencies.sh installs.
 * The pool is `forks` because node-gtk cannot be loaded in worker threads.
 */
export default defineConfig({
  test: {
    pool: 'forks',
    sequence: { sequencer: LongestFirst },
    // By default one core is left idle: half of the machine that CI has.
    maxWorkers: '100%',
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: [
            'test/{formats,initrd,commands,adapters,personalities,vm-harness,bench}/**/*.test.ts',
            'test/*.test.ts',
          ],
          // A hang ends; a busy machine does not fail.
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'real',
          include: ['test/oracles/**/*.test.ts'],
          testTimeout: 300_000,
          // The first to need a Debian tree makes it, and the others wait.
          hookTimeout: 600_000,
        },
      },
    ],
  },
});

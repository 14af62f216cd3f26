import { defineConfig } from 'vitest/config';

/**
 * Two projects. `unit` is the gate (`npm run check`): no root, no network, no oracle.
 * `real` runs against the real tools and kernel; it needs root and what tools/with-dependencies.sh installs.
 * The pool is `forks` because node-gtk cannot be loaded in worker threads.
 */
export default defineConfig({
  test: {
    pool: 'forks',
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          // By default one core is left idle: half of the machine that CI has.
          maxWorkers: '100%',
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

/** The command line and the program of its threads as one file each, with esbuild. node-gtk and koffi are native and stay packages. */

import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

const ROOT = join(import.meta.dirname, '..');

/** commander is CommonJS and requires node:events and others at run time. */
const BANNER = `#!/usr/bin/env node
import { createRequire as sealrootCreateRequire } from 'node:module';
const require = sealrootCreateRequire(import.meta.url);`;

/**
 * Writes the executable `sealroot.js` and what belongs to it into a folder; it has to be below the project, where node
 * finds the packages.
 */
export async function bundleProgram(folder: string): Promise<void> {
  await build({
    entryPoints: {
      sealroot: join(ROOT, 'src/main.ts'),
      'file-reader': join(ROOT, 'src/file-reader.ts'),
    },
    outdir: folder,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20.19',
    external: ['node-gtk', 'koffi'],
    banner: { js: BANNER },
    legalComments: 'none',
    logLevel: 'warning',
  });
  chmodSync(join(folder, 'sealroot.js'), 0o755);
}

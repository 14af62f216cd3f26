/** The command line as one file, with esbuild. node-gtk and koffi are native and stay packages. */

import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

const ROOT = join(import.meta.dirname, '..');

/** commander is CommonJS and requires node:events and others at run time. */
const BANNER = `#!/usr/bin/env node
import { createRequire as sealrootCreateRequire } from 'node:module';
const require = sealrootCreateRequire(import.meta.url);`;

/** Writes the executable `outfile`; it has to be below the project, where node finds the packages. */
export async function bundleProgram(outfile: string): Promise<void> {
  await build({
    entryPoints: [join(ROOT, 'src/main.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20.19',
    external: ['node-gtk', 'koffi'],
    banner: { js: BANNER },
    legalComments: 'none',
    logLevel: 'warning',
  });
  chmodSync(outfile, 0o755);
}

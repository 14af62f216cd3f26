/** Builds dist/: the command line, and sealroot-prepare-root beside it when initrd/build.ts has made it. */

import { chmodSync, copyFileSync, existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { bundleProgram } from './bundle.ts';

const ROOT = join(import.meta.dirname, '..');
const PREPARE_ROOT = join(ROOT, '.cache/initrd/sealroot-prepare-root');

const program = join(ROOT, 'dist/sealroot.js');
await bundleProgram(join(ROOT, 'dist'));
console.log(`${program}  ${statSync(program).size} bytes`);

if (existsSync(PREPARE_ROOT)) {
  const copy = join(ROOT, 'dist/sealroot-prepare-root');
  copyFileSync(PREPARE_ROOT, copy);
  chmodSync(copy, 0o755);
  console.log(`${copy}  ${statSync(copy).size} bytes`);
}

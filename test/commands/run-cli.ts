/** Runs the bundled command line as a user would. */

import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { bundleProgram } from '../../tools/bundle.ts';

const FOLDER = join(import.meta.dirname, `../../.cache/cli/${process.pid}`);
/** For whoever has to start it in another way. */
export const PROGRAM = join(FOLDER, 'sealroot.js');

/** Where the command line keeps what it may forget. */
export const CACHE_HOME = join(FOLDER, 'cache');

export interface CliResult {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** Call once in a test file that uses `sealroot()`. */
export function useCli(): void {
  beforeAll(() => bundleProgram(FOLDER));
  afterAll(() => rmSync(FOLDER, { recursive: true, force: true }));
}

/** Standard output as text; its bytes are those of `sealrootRaw`. */
export function sealroot(args: readonly string[], input: Uint8Array | string = ''): CliResult {
  const { status, stdout, stderr } = sealrootRaw(args, input);
  return { status, stdout: stdout.toString(), stderr };
}

export function sealrootRaw(
  args: readonly string[],
  input: Uint8Array | string = '',
): { status: number | null; stdout: Buffer; stderr: string } {
  const { status, stdout, stderr, error } = spawnSync(process.execPath, [PROGRAM, ...args], {
    input,
    // Not that of whoever runs the tests.
    env: { ...process.env, XDG_CACHE_HOME: CACHE_HOME },
    timeout: 60_000,
    maxBuffer: 256 * 1024 * 1024,
  });
  if (error !== undefined) throw error;
  return { status, stdout, stderr: stderr.toString() };
}

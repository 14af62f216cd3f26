/**
 * The interpreter with our patch (initrd/runtime/shortcuts.h) beside V8: the same script, character by character, has to print
 * the same. And once more with QuickJS itself watched by AddressSanitizer and its own assertions, in a process that gives
 * everything back, so that a reference that is counted wrongly shows. Needs musl-gcc.
 */

import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { buildForInitramfs, buildWatched } from '../../initrd/build.ts';
import { bundleScripts } from '../../initrd/bundle.ts';

const PROGRAM = 'test/oracles/engine-program.ts';
const MAIN = path.join(import.meta.dirname, 'engine-main.c');
const ALLOCATOR = path.join(import.meta.dirname, '../fuzz/watched-malloc.c');

/** What the script takes from the runtime, in Node.js. */
const SYS = `const sys = {
  argv: [],
  nr: { write: 0 },
  flag: {},
  fromByteString: (text) => Buffer.from(text, 'latin1'),
  syscall: (_, fd, bytes) => require('node:fs').writeSync(fd, bytes),
};`;

/** The lines that it prints. */
function run(command: string, args: readonly string[], input = ''): string[] {
  const output = execFileSync(command, args, {
    input,
    encoding: 'utf8',
    maxBuffer: 256 << 20,
    timeout: 200_000,
  });
  return output.trimEnd().split('\n');
}

/** Where they part, and what led there. */
function firstDifference(expected: readonly string[], actual: readonly string[]) {
  const at = expected.findIndex((line, i) => line !== actual[i]);
  if (at < 0) return actual.length > expected.length ? { more: actual[expected.length] } : undefined;
  return { before: expected.slice(Math.max(0, at - 3), at), expected: expected[at], actual: actual[at] };
}

let expected: string[] = [];

beforeAll(async () => {
  const { program } = await bundleScripts(PROGRAM);
  expected = run(process.execPath, ['-'], `${SYS}\n${program}`);
});

it('the interpreter does with 150,000 cases what V8 does', async () => {
  expect(expected.length).toBeGreaterThan(150_000);
  const program = await buildForInitramfs(PROGRAM, 'engine');
  expect(firstDifference(expected, run(program, []))).toBeUndefined();
});

it('the interpreter does so without a fault or a leak', async () => {
  const program = await buildWatched(PROGRAM, 'watched-engine', {
    allocator: ALLOCATOR,
    main: MAIN,
    engine: true,
  });
  expect(firstDifference(expected, run(program, ['return']))).toBeUndefined();
});

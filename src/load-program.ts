/**
 * A program of the package, from the code that the bundler has compiled beside it (tools/bundle.ts): what Node.js would
 * compile at every start, while the work itself often takes no longer. Another version of Node.js rejects that code, and
 * compiles its own.
 */

import { existsSync, readFileSync } from 'node:fs';
import Module, { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { Script } from 'node:vm';

/**
 * Most programs end before V8 has compiled what they run most, and while it does, threads of our own wait for a processor:
 * with a quarter of the usual limit it compiles a third less, and what runs for long is no slower (bytes of bytecode that
 * one function takes in).
 */
const LESS_INLINING = '--max-inlined-bytecode-size-cumulative=200';

type Body = (
  exports: unknown,
  require: NodeJS.Require,
  module: { exports: unknown },
  filename: string,
  folder: string,
) => void;

/** The text that is compiled of a CommonJS file, lines and columns being what they are in the file. */
export function scriptOf(file: string): string {
  // A first line for the shell is no JavaScript.
  return Module.wrap(readFileSync(file, 'utf8').replace(/^#!/, '//'));
}

export function compiledFile(file: string): string {
  return `${file}.compiled`;
}

/** The exports of a CommonJS file that the bundler wrote. */
export function loadProgram(file: string): unknown {
  const compiled = compiledFile(file);
  const cachedData = existsSync(compiled) ? readFileSync(compiled) : undefined;
  const script = new Script(scriptOf(file), { filename: file, cachedData });
  // Another Node.js may not know the flag.
  if (script.cachedDataRejected === false) setFlagsFromString(LESS_INLINING);
  const program: { exports: unknown } = { exports: {} };
  const body = script.runInThisContext() as Body;
  body(program.exports, createRequire(file), program, file, dirname(file));
  return program.exports;
}

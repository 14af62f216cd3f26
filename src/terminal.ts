/** What a person or a script gets to see: standard output, warnings, progress. */

import { writeSync } from 'node:fs';
import { whenReady } from './adapters/non-blocking.ts';
import { createProgress } from './adapters/progress.ts';
import { systemError } from './formats/errors.ts';

/** Asks for process.stderr late: it takes long to make, and most calls write nothing to it. */
export const progress = createProgress({
  get isTTY() {
    return process.stderr.isTTY;
  },
  get columns() {
    return process.stderr.columns;
  },
  write: (text) => process.stderr.write(text),
});

/** One line of progress; nothing where nobody looks. */
export function note(message: string): void {
  progress.update(() => message);
}

/** A result never stands behind a line of progress: not every command has an end of its progress of its own. */
export function print(text: string | Uint8Array): void {
  progress.finish();
  const bytes = typeof text === 'string' ? Buffer.from(text) : text;
  for (let at = 0; at < bytes.length; ) {
    try {
      at += whenReady(() => writeSync(1, bytes, at));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      throw systemError('output-failed', `cannot write standard output: ${code}`);
    }
  }
}

export function printJson(value: unknown): void {
  print(`${JSON.stringify(value, null, 2)}\n`);
}

export function warn(warnings: readonly string[]): void {
  progress.finish();
  for (const warning of warnings) process.stderr.write(`sealroot: warning: ${warning}\n`);
}

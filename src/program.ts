/** How every program of sealroot ends: done, or with an error that is printed here and an exit status for its kind. */

import { exitStatus, SealrootError } from './formats/errors.ts';
import { refusalOf } from './formats/refusals.ts';
import { progress } from './terminal.ts';

/** Ends at once: Node.js would take down its memory first, which takes as long as reading the files of an image. */
export function runProgram(body: () => Promise<void>): void {
  body()
    .catch((error: unknown) => {
      process.exitCode = report(error);
    })
    .finally(() => process.exit());
}

/** The status for the shell; errors are printed here. */
function report(error: unknown): number {
  progress.finish();
  if (error instanceof SealrootError) {
    process.stderr.write(`sealroot: error: ${error.message}\n`);
    const hint = error.hint ?? (error.kind === 'refused' ? refusalOf(error.code)?.remedy : undefined);
    if (hint !== undefined) process.stderr.write(`sealroot: hint: ${hint}\n`);
    return exitStatus(error.kind);
  }
  const { code, syscall, path, stack } = error as NodeJS.ErrnoException;
  if (code !== undefined && syscall !== undefined) {
    process.stderr.write(`sealroot: error: cannot ${syscall} ${path ?? 'a file'}: ${code}\n`);
  } else {
    process.stderr.write(`sealroot: error: cannot go on: internal error: ${stack ?? String(error)}\n`);
    process.stderr.write(
      'sealroot: hint: this is a defect of sealroot; please report it with the lines above\n',
    );
  }
  return exitStatus('system');
}

/**
 * Runs the programs of the system (sfdisk, mkfs.ext4, debugfs, ...). Arguments are an array, never a shell's line.
 * Synchronous on purpose: a mount namespace belongs to one thread (see mount-namespace.ts), and a child inherits it
 * only when it is forked from that thread.
 */

import { spawnSync } from 'node:child_process';
import { systemError } from '../formats/errors.ts';

export interface RunOptions {
  /** Goes to standard input; without it the program reads an end of file at once. */
  input?: string | Uint8Array;
  /** After this many seconds the program is killed and the call fails. */
  timeoutSeconds?: number;
  /** Exit statuses that are not a failure; 0 alone when absent. */
  allowedStatuses?: readonly number[];
}

export interface RunResult {
  status: number;
  stdout: string;
  stderr: string;
}

/** The C locale: the output of some of the programs is read. */
const ENVIRONMENT = { ...process.env, LC_ALL: 'C', PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin` };

/** Returns what the program printed; anything but an allowed exit status is a system error with the end of stderr. */
export function runProgram(argv: readonly [string, ...string[]], options: RunOptions = {}): RunResult {
  const [program, ...rest] = argv;
  const done = spawnSync(program, rest, {
    input: options.input ?? '',
    encoding: 'utf8',
    env: ENVIRONMENT,
    timeout: (options.timeoutSeconds ?? 120) * 1000,
    killSignal: 'SIGKILL',
    maxBuffer: 64 * 1024 * 1024,
  });
  if (done.error !== undefined) {
    const code = (done.error as NodeJS.ErrnoException).code ?? done.error.message;
    if (code === 'ENOENT') {
      throw systemError(
        'program-missing',
        `cannot run ${program}: it is not installed`,
        `install the package that has ${program} (on Debian: apt-file search bin/${program})`,
      );
    }
    throw systemError('program-failed', `cannot run ${argv.join(' ')}: ${code}`);
  }
  const status = done.status ?? -1;
  if (!(options.allowedStatuses ?? [0]).includes(status)) {
    const ended = done.signal === null ? `exit status ${status}` : `signal ${done.signal}`;
    throw systemError('program-failed', `cannot run ${argv.join(' ')}: ${ended}${tail(done)}`);
  }
  return { status, stdout: done.stdout, stderr: done.stderr };
}

function tail(output: { stdout: string; stderr: string }): string {
  const text = (output.stderr.trim() || output.stdout.trim()).split('\n').slice(-3).join('; ');
  return text === '' ? '' : `: ${text}`;
}

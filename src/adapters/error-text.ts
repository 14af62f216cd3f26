/** The C library's words for an error number: what the tools of composefs print. */

import { errnoNumber, libcFunction } from './libc.ts';
import { SystemCallError } from './syscalls.ts';

const strerror = libcFunction<string>('const char *strerror(int number)');

/** "No such file or directory" for 'ENOENT'; an unknown name comes back as it is. */
export function errnoText(name: string): string {
  const number = errnoNumber(name);
  return number === undefined ? name : strerror(number);
}

/** The errno's name of an error of Node's fs module or of a system call; undefined for every other error. */
export function errnoOf(error: unknown): string | undefined {
  if (error instanceof SystemCallError) return error.errno;
  const { code, syscall } = error as NodeJS.ErrnoException;
  return syscall === undefined ? undefined : code;
}

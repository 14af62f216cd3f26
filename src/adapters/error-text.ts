/** The C library's words for an error number: what the tools of composefs print. */

import koffi from 'koffi';
import { SystemCallError } from './syscalls.ts';

const strerror = koffi.load('libc.so.6').func('const char *strerror(int number)');

/** "No such file or directory" for 'ENOENT'; an unknown name comes back as it is. */
export function errnoText(name: string): string {
  const number = (koffi.os.errno as Record<string, number | undefined>)[name];
  return number === undefined ? name : strerror(number);
}

/** The errno's name of an error of Node's fs module or of a system call; undefined for every other error. */
export function errnoOf(error: unknown): string | undefined {
  if (error instanceof SystemCallError) return error.errno;
  const { code, syscall } = error as NodeJS.ErrnoException;
  return syscall === undefined ? undefined : code;
}

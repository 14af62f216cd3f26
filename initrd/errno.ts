/** The kernel's error numbers, and the error that a failed system call becomes. */

import { SealrootError } from '../src/formats/errors.ts';

/** Linux's numbers, which are the same on every architecture that this program is built for. */
const ERRNO_NAMES =
  '0 EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK EBUSY ' +
  'EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE ' +
  'EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY ELOOP 41 ENOMSG EIDRM ECHRNG EL2NSYNC EL3HLT EL3RST ' +
  'ELNRNG EUNATCH ENOCSI EL2HLT EBADE EBADR EXFULL ENOANO EBADRQC EBADSLT 58 EBFONT ENOSTR ENODATA ETIME ENOSR ' +
  'ENONET ENOPKG EREMOTE ENOLINK EADV ESRMNT ECOMM EPROTO EMULTIHOP EDOTDOT EBADMSG EOVERFLOW';
export const ENOENT = 2;
const EUCLEAN = 117;
const EOPNOTSUPP = 95;

let errnoNames: readonly string[] | undefined;

/** A failed system call. `errno` is its name, such as `ENOENT`. */
export class KernelError extends SealrootError {
  readonly errno: string;
  readonly number: number;

  constructor(action: string, number: number) {
    const errno = errnoName(number);
    super('system', 'system-call-failed', `cannot ${action}: ${errno}`);
    this.errno = errno;
    this.number = number;
  }
}

function errnoName(number: number): string {
  if (number === EUCLEAN) return 'EUCLEAN';
  if (number === EOPNOTSUPP) return 'EOPNOTSUPP';
  errnoNames ??= ERRNO_NAMES.split(' ');
  return errnoNames[number] ?? `errno ${number}`;
}

/** The errno of a failed system call, undefined for every other error. */
export function errnoOf(error: unknown): string | undefined {
  return error instanceof KernelError ? error.errno : undefined;
}

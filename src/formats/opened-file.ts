/**
 * Opening a file on the disk, and measuring an image: what is asked of the kernel, in which order, and which answer is
 * which refusal. For the initramfs, which boots from it, and for the host, which says what the initramfs would do.
 */

import { equalBytes } from './bytes.ts';
import { hex } from './encoding.ts';
import { refused } from './errors.ts';
import { FS_IOC_MEASURE_VERITY } from './linux.ts';
import { S_IFREG } from './tree.ts';

/** The system calls, which the initramfs and the host make each in its own way. */
export interface FileCalls<F> {
  /** fstat(2); `type` is S_IFMT of the mode. */
  statusOf(fd: F, name: string): { readonly type: number; readonly size: number };
  ioctl(fd: F, request: number, argument: Uint8Array, action: string): unknown;
  /** The name of a failed call's error; undefined for every other error. */
  errnoOf(error: unknown): string | undefined;
}

/** Codes for what can be wrong with one file; the same words for all would not tell the reader what to replace. */
export interface FileCodes {
  readonly missing: string;
  /** A link, device, FIFO, directory, or something on its path that is no directory. */
  readonly unsafe: string;
}

/** Errors of opening that say: on this path stands something else than directories and what was asked for. */
const NOT_A_PLAIN_PATH = ['ELOOP', 'EXDEV', 'ENOTDIR', 'EISDIR', 'ENXIO', 'ENODEV', 'ENAMETOOLONG'];

/** Whether opening failed with an error that is an answer: there is nothing, or no plain path to it. */
export function isNotPlain(errno: string | undefined): boolean {
  return errno === 'ENOENT' || (errno !== undefined && NOT_A_PLAIN_PATH.includes(errno));
}

/** What `open` opens. Throws refusals where it fails with an error that is an answer. */
export function opened<F>({ errnoOf }: FileCalls<F>, name: string, codes: FileCodes, open: () => F): F {
  try {
    return open();
  } catch (error) {
    const errno = errnoOf(error);
    if (!isNotPlain(errno)) throw error;
    if (errno === 'ENOENT') throw refused(codes.missing, `cannot open ${name}: ENOENT`);
    const fact = 'its path holds a link or a file of another type';
    throw refused(codes.unsafe, `cannot open ${name}: ${errno}, ${fact}`);
  }
}

/** The same of a regular file, with its size; `open` must not block. */
export function openedRegular<F>(
  calls: FileCalls<F>,
  name: string,
  codes: FileCodes,
  open: () => F,
): { fd: F; size: number } {
  const fd = opened(calls, name, codes, open);
  const { type, size } = calls.statusOf(fd, name);
  requireRegular(codes.unsafe, name, type);
  return { fd, size };
}

/** Throws `code` for a link, device, FIFO, socket or directory. */
export function requireRegular(code: string, name: string, type: number): void {
  if (type === S_IFREG) return;
  throw refused(code, `cannot read ${name}: it is of type 0o${type.toString(8)}, expected a regular file`);
}

/** Of a deployment's image. */
export const IMAGE_CODES: FileCodes = { missing: 'image-missing', unsafe: 'image-unsafe' };

/** A deployment's image, whatever is in it. */
export function openedImage<F>(calls: FileCalls<F>, name: string, open: () => F): F {
  const { fd, size } = readable(calls, name, () => openedRegular(calls, name, IMAGE_CODES, open), NOT_OPENED);
  if (size === 0) throw refused(IMAGE_CODES.unsafe, `cannot use ${name}: it is empty`);
  return fd;
}

/** The same, if its fs-verity digest is `digest`. Every read of it is then checked by the kernel. */
export function openedSealedImage<F>(
  calls: FileCalls<F>,
  name: string,
  digest: Uint8Array,
  open: () => F,
): F {
  const fd = openedImage(calls, name, open);
  const measured = readable(calls, name, () => measure(calls, fd, name));
  if (equalBytes(measured, digest)) return fd;
  throw refused(
    'image-digest-mismatch',
    `cannot use ${name}: its fs-verity digest is ${hex(measured)}, the signed commit names ${hex(digest)}`,
  );
}

/** Errors with which the kernel answers when content does not match its fs-verity metadata, or the disk fails. */
const UNREADABLE = ['EIO', 'EBADMSG', 'EUCLEAN'];
/** To open a file the kernel reads its fs-verity descriptor, and says EINVAL to one that is none (fs/verity/open.c). */
const NOT_OPENED = [...UNREADABLE, 'EINVAL'];

/** Runs `action`; what the kernel cannot read of the image becomes `image-unreadable`. */
export function readable<T>(
  { errnoOf }: Pick<FileCalls<never>, 'errnoOf'>,
  name: string,
  action: () => T,
  errnos: readonly string[] = UNREADABLE,
): T {
  try {
    return action();
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === undefined || !errnos.includes(errno)) throw error;
    throw refused(
      'image-unreadable',
      `cannot read ${name}: ${errno}, it does not match its fs-verity metadata or the disk fails`,
    );
  }
}

const FS_VERITY_HASH_ALG_SHA256 = 1;
const SHA256_BYTES = 32;
/** struct fsverity_digest: u16 digest_algorithm, u16 digest_size, digest. Room for the longest, SHA-512. */
const DIGEST_HEADER = 4;
const DIGEST_ROOM = 64;

/** The fs-verity digest that the kernel enforces for an open file, which has to be a SHA-256. */
export function measure<F>({ ioctl, errnoOf }: FileCalls<F>, fd: F, name: string): Uint8Array {
  const buffer = new Uint8Array(DIGEST_HEADER + DIGEST_ROOM);
  const view = new DataView(buffer.buffer);
  view.setUint16(2, DIGEST_ROOM, true);
  try {
    ioctl(fd, FS_IOC_MEASURE_VERITY, buffer, `measure ${name}`);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ENODATA') throw withoutVerity(name, 'ENODATA, fs-verity is not enabled on it');
    if (errno === 'ENOTTY' || errno === 'EOPNOTSUPP') {
      throw withoutVerity(name, `${errno}, the kernel or its file system has no fs-verity`);
    }
    throw error;
  }
  const algorithm = view.getUint16(0, true);
  const size = view.getUint16(2, true);
  if (algorithm !== FS_VERITY_HASH_ALG_SHA256 || size !== SHA256_BYTES) {
    throw refused(
      'image-digest-mismatch',
      `cannot use ${name}: its fs-verity digest is of algorithm ${algorithm} and ${size} bytes, expected 1 (SHA-256) and 32`,
    );
  }
  return buffer.subarray(DIGEST_HEADER, DIGEST_HEADER + size);
}

function withoutVerity(name: string, fact: string): Error {
  return refused('image-verity-missing', `cannot measure ${name}: ${fact}`);
}

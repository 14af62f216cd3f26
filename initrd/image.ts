/** The composefs image of a deployment: opened once, measured by the kernel, and mounted through its descriptor. */

import { equalBytes } from '../src/formats/bytes.ts';
import { ascii, hex } from '../src/formats/encoding.ts';
import { refused, type SealrootError } from '../src/formats/errors.ts';
import { FS_IOC_MEASURE_VERITY } from '../src/formats/linux.ts';
import { type OpenDirectory, openRegular } from './files.ts';
import * as sys from './sys.ts';

const IMAGE_NAME = ascii('.ostree.cfs');

const FS_VERITY_HASH_ALG_SHA256 = 1;
const SHA256_BYTES = 32;
/** struct fsverity_digest: u16 digest_algorithm, u16 digest_size, digest. Room for the longest, SHA-512. */
const DIGEST_HEADER = 4;
const DIGEST_ROOM = 64;

export interface OpenImage {
  readonly fd: sys.Descriptor;
  readonly name: string;
  /** Of one in memory: what was wrong with the one on the disk. */
  readonly rebuiltFor?: SealrootError;
}

export function openImageFile(deployment: OpenDirectory): OpenImage {
  const codes = { missing: 'image-missing', unsafe: 'image-unsafe' };
  const { fd, size, name } = readable(
    `${deployment.path}/${IMAGE_NAME}`,
    () => openRegular(deployment, IMAGE_NAME, codes),
    NOT_OPENED,
  );
  if (size === 0) throw refused('image-unsafe', `cannot use ${name}: it is empty`);
  return { fd, name };
}

/** The image, if its fs-verity digest is `digest`. Every read of it is then checked by the kernel. */
export function openMeasuredImage(deployment: OpenDirectory, digest: Uint8Array): OpenImage {
  const image = openImageFile(deployment);
  const { fd, name } = image;
  const measured = readable(name, () => measure(fd, name));
  if (!equalBytes(measured, digest)) {
    throw refused(
      'image-digest-mismatch',
      `cannot use ${name}: its fs-verity digest is ${hex(measured)}, the signed commit names ${hex(digest)}`,
    );
  }
  return image;
}

/** The fs-verity digest that the kernel enforces for an open file. */
export function measure(fd: sys.Descriptor, name: string): Uint8Array {
  const buffer = new Uint8Array(DIGEST_HEADER + DIGEST_ROOM);
  const view = new DataView(buffer.buffer);
  view.setUint16(2, DIGEST_ROOM, true);
  try {
    sys.ioctl(fd, FS_IOC_MEASURE_VERITY, buffer, `measure ${name}`);
  } catch (error) {
    const errno = sys.errnoOf(error);
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

/** Errors with which the kernel answers when content does not match its fs-verity metadata, or the disk fails. */
const UNREADABLE = ['EIO', 'EBADMSG', 'EUCLEAN'];
/** To open a file the kernel reads its fs-verity descriptor, and says EINVAL to one that is none (fs/verity/open.c). */
const NOT_OPENED = [...UNREADABLE, 'EINVAL'];

/** Runs `action`; what the kernel cannot read of the image becomes `image-unreadable`. */
export function readable<T>(name: string, action: () => T, errnos: readonly string[] = UNREADABLE): T {
  try {
    return action();
  } catch (error) {
    const errno = sys.errnoOf(error);
    if (errno === undefined || !errnos.includes(errno)) throw error;
    throw refused(
      'image-unreadable',
      `cannot read ${name}: ${errno}, it does not match its fs-verity metadata or the disk fails`,
    );
  }
}

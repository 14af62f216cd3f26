/**
 * fs-verity of files on this machine (linux/fsverity.h, Documentation/filesystems/fsverity.rst): enable, measure, and
 * compute what the kernel would measure without its help.
 */

import { hash } from 'node:crypto';
import { readSync } from 'node:fs';
import { concatBytes, roundUp } from '../formats/bytes.ts';
import { hex } from '../formats/encoding.ts';
import { badInput, refused, systemError } from '../formats/errors.ts';
import {
  USUAL_VERITY,
  VERITY_ALGORITHMS,
  VERITY_BLOCK_SIZE,
  type VerityAlgorithm,
  type VerityParameters,
  verityDescriptor,
} from '../formats/fsverity.ts';
import { FS_IOC_MEASURE_VERITY } from '../formats/linux.ts';
import { openLibrary } from './libc.ts';
import { ioctl, SystemCallError } from './syscalls.ts';

const FS_IOC_ENABLE_VERITY = 0x40806685;
const ENABLE_ARGUMENT_BYTES = 128;
const MAX_DIGEST_BYTES = 64;

const UNSUPPORTED_HINT =
  'use a kernel with CONFIG_FS_VERITY and a file system with the verity feature (ext4: tune2fs -O verity, btrfs, f2fs)';

/** What errno means for these two calls: no such ioctl, or none here. */
function isUnsupported(error: unknown): boolean {
  return error instanceof SystemCallError && (error.errno === 'EOPNOTSUPP' || error.errno === 'ENOTTY');
}

/**
 * Makes the file read-only for ever and its content verified. `fd` must be open for reading and nobody may have it
 * open for writing. A file that has verity already is left as it is: measure it to know which.
 */
export function enableVerity(fd: number, file: string, algorithm: VerityAlgorithm = 'sha256'): void {
  const argument = Buffer.alloc(ENABLE_ARGUMENT_BYTES);
  argument.writeUInt32LE(1, 0); // version
  argument.writeUInt32LE(VERITY_ALGORITHMS[algorithm].id, 4); // hash_algorithm
  argument.writeUInt32LE(VERITY_BLOCK_SIZE, 8); // block_size
  try {
    ioctl(fd, FS_IOC_ENABLE_VERITY, argument, `enable fs-verity on ${file}`);
  } catch (error) {
    if (error instanceof SystemCallError && error.errno === 'EEXIST') return;
    if (!isUnsupported(error)) throw error;
    throw systemError('verity-unsupported', (error as Error).message, UNSUPPORTED_HINT);
  }
}

/**
 * The digest that the kernel enforces for the file; undefined when it enforces none. A digest of another algorithm
 * is an error: such a file can never be what was asked for.
 */
export function measureVerity(
  fd: number,
  file: string,
  algorithm: VerityAlgorithm = 'sha256',
): Uint8Array | undefined {
  const argument = Buffer.alloc(4 + MAX_DIGEST_BYTES);
  argument.writeUInt16LE(MAX_DIGEST_BYTES, 2);
  try {
    ioctl(fd, FS_IOC_MEASURE_VERITY, argument, `measure ${file}`);
  } catch (error) {
    if (isUnsupported(error) || (error as SystemCallError).errno === 'ENODATA') return undefined;
    throw error;
  }
  const found = argument.readUInt16LE(0);
  const size = argument.readUInt16LE(2);
  const { id, digestBytes } = VERITY_ALGORITHMS[algorithm];
  if (found !== id || size !== digestBytes) {
    const expected = `${id} (${algorithm === 'sha256' ? 'SHA-256' : 'SHA-512'})`;
    throw refused(
      'verity-algorithm',
      `cannot use ${file}: its fs-verity algorithm is ${found} (${size} bytes), expected ${expected}`,
    );
  }
  return new Uint8Array(argument.subarray(4, 4 + size));
}

/**
 * Whether kernel and file system offer fs-verity for an open regular file. Asks by measuring, which changes nothing:
 * "no data" comes from who could have some (ext4 without the feature says EOPNOTSUPP, xfs ENOTTY).
 */
export function supportsVerity(fd: number, file: string): boolean {
  try {
    ioctl(fd, FS_IOC_MEASURE_VERITY, Buffer.alloc(4 + MAX_DIGEST_BYTES), `measure ${file}`);
    return true;
  } catch (error) {
    if (isUnsupported(error)) return false;
    if (error instanceof SystemCallError && (error.errno === 'ENODATA' || error.errno === 'EOVERFLOW'))
      return true;
    throw error;
  }
}

/** Throws `verity-mismatch` naming both digests. */
export function requireDigest(actual: Uint8Array, expected: Uint8Array, file: string): void {
  if (hex(actual) === hex(expected)) return;
  throw refused(
    'verity-mismatch',
    `cannot use ${file}: its fs-verity digest is ${hex(actual)}, expected ${hex(expected)}`,
  );
}

const PROTOTYPES = {
  verity: 'int32_t verity_of_bytes(const void *bytes, uint64_t size, int algorithm, _Out_ void *digest)',
} as const;

/** The digest of bytes in memory, as the kernel would measure it of a file. */
export function verityOfBytes(bytes: Uint8Array, parameters = USUAL_VERITY, library?: URL): Uint8Array {
  const { algorithm, blockSize } = parameters;
  if (blockSize === VERITY_BLOCK_SIZE) {
    const digest = new Uint8Array(MAX_DIGEST_BYTES);
    const { id, digestBytes } = VERITY_ALGORITHMS[algorithm];
    if (openLibrary(PROTOTYPES, library)?.functions.verity(bytes, bytes.length, id, digest) === 0) {
      return digest.subarray(0, digestBytes);
    }
  }
  return new VerityComputer(parameters).ofBytes(bytes);
}

export interface MerkleTree {
  readonly rootHash: Uint8Array;
  /** Hash blocks as ext4 and the kernel's documentation store them: the root's level first; empty for one data block. */
  readonly blocks: Uint8Array;
}

/** L2-resident: larger buffers are slower. */
const READ_BYTES = 128 * 1024;

/**
 * Computes fs-verity digests of many files with buffers that are made once. For a file in memory and for the meaning
 * see formats/fsverity.ts; this one exists because an image takes a few hundred thousand block hashes.
 */
export class VerityComputer {
  readonly #parameters: VerityParameters;
  readonly #digestBytes: number;
  readonly #input = Buffer.alloc(READ_BYTES);
  /** Made once: a view per block would cost more than its share of the hash. */
  readonly #blocks: Uint8Array[] = [];
  /** One per tree level; grows to the largest file. */
  readonly #levels: Buffer[] = [];
  /** Of the last file: its root hash, and bytes of each level that it has, leaves first. */
  #rootHash: Uint8Array = new Uint8Array(0);
  #levelBytes: number[] = [];

  constructor(parameters = USUAL_VERITY) {
    const { algorithm, blockSize } = parameters;
    this.#parameters = parameters;
    this.#digestBytes = VERITY_ALGORITHMS[algorithm].digestBytes;
    for (let at = 0; at < READ_BYTES; at += blockSize) {
      this.#blocks.push(this.#input.subarray(at, at + blockSize));
    }
  }

  /** The digest of the next `size` bytes of `fd`, normally all of the file; an error when there are fewer. */
  ofDescriptor(fd: number, size: number, file: string): Uint8Array {
    return this.#digest(size, (want, at) => {
      let have = 0;
      while (have < want) {
        const count = readSync(fd, this.#input, have, want - have, null);
        if (count === 0) {
          const fact = `it ends after ${at + have} bytes, expected ${size}`;
          throw badInput('object-size-mismatch', `cannot read ${file}: ${fact}`);
        }
        have += count;
      }
    });
  }

  /** The digest of bytes in memory. */
  ofBytes(bytes: Uint8Array): Uint8Array {
    return this.#digest(bytes.length, (want, at) => {
      this.#input.set(bytes.subarray(at, at + want));
    });
  }

  /** A copy of the tree behind the last digest. */
  merkleTree(): MerkleTree {
    const levels = this.#levelBytes.map((bytes, depth) => (this.#levels[depth] as Buffer).subarray(0, bytes));
    return { rootHash: Uint8Array.from(this.#rootHash), blocks: concatBytes(levels.toReversed()) };
  }

  #digest(size: number, fill: (want: number, at: number) => void): Uint8Array {
    const { blockSize } = this.#parameters;
    this.#levelBytes = [];
    // The kernel's rule for an empty file: no block is hashed at all.
    if (size === 0) {
      this.#rootHash = new Uint8Array(this.#digestBytes);
      return this.#descriptorDigest(0);
    }
    const count = Math.ceil(size / blockSize);
    const leaves = this.#level(0, count);
    for (let at = 0, index = 0; at < size; ) {
      const want = Math.min(size - at, READ_BYTES);
      fill(want, at);
      at += want;
      this.#input.fill(0, want, roundUp(want, blockSize));
      for (let i = 0; i * blockSize < want; i++, index++) {
        this.#hashInto(this.#blocks[i] as Uint8Array, leaves, index);
      }
    }
    this.#rootHash = this.#root(leaves, count);
    return this.#descriptorDigest(size);
  }

  /** A zeroed buffer for `count` hashes, padded to whole blocks. */
  #level(depth: number, count: number): Buffer {
    const bytes = this.#levelSize(count);
    let buffer = this.#levels[depth];
    if (buffer === undefined || buffer.length < bytes) {
      buffer = Buffer.alloc(bytes);
      this.#levels[depth] = buffer;
    }
    buffer.fill(0, count * this.#digestBytes, bytes);
    return buffer;
  }

  #levelSize(count: number): number {
    return roundUp(count * this.#digestBytes, this.#parameters.blockSize);
  }

  #root(leaves: Buffer, leafCount: number): Uint8Array {
    const { blockSize } = this.#parameters;
    let level = leaves;
    let count = leafCount;
    for (let depth = 1; count > 1; depth++) {
      const bytes = this.#levelSize(count);
      this.#levelBytes.push(bytes);
      const blocks = bytes / blockSize;
      const above = this.#level(depth, blocks);
      for (let i = 0; i < blocks; i++) {
        this.#hashInto(level.subarray(i * blockSize, (i + 1) * blockSize), above, i);
      }
      level = above;
      count = blocks;
    }
    return level.subarray(0, this.#digestBytes);
  }

  /** Text output is the cheapest way out of OpenSSL: no Buffer is made. */
  #hashInto(block: Uint8Array, level: Buffer, index: number): void {
    const text = hash(this.#parameters.algorithm, block, 'binary');
    level.write(text, index * this.#digestBytes, this.#digestBytes, 'latin1');
  }

  #descriptorDigest(size: number): Uint8Array {
    const descriptor = verityDescriptor(size, this.#rootHash, this.#parameters);
    return hash(this.#parameters.algorithm, descriptor, 'buffer');
  }
}

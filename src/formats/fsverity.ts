/**
 * fs-verity as the kernel computes it without a salt: Merkle tree, descriptor, digest.
 * Source: the kernel's Documentation/filesystems/fsverity.rst, "Merkle tree" and "fs-verity descriptor".
 * libcomposefs and libostree use SHA-256 and blocks of 4096 bytes, the default everywhere here; composefs-rs also
 * uses SHA-512. Other block sizes can be computed; the kernel enables none above the size of its pages.
 */

import { roundUp } from './bytes.ts';
import { hex, parseHex, printable } from './encoding.ts';
import { badInput } from './errors.ts';
import type { Hasher } from './hasher.ts';

export const VERITY_BLOCK_SIZE = 4096;
export const VERITY_DIGEST_SIZE = 32;

export type VerityAlgorithm = 'sha256' | 'sha512';

interface Algorithm {
  /** FS_VERITY_HASH_ALG_*, linux/fsverity.h. */
  readonly id: number;
  readonly digestBytes: number;
}

export const VERITY_ALGORITHMS: Readonly<Record<VerityAlgorithm, Algorithm>> = {
  sha256: { id: 1, digestBytes: VERITY_DIGEST_SIZE },
  sha512: { id: 2, digestBytes: 64 },
};

export interface VerityParameters {
  readonly algorithm: VerityAlgorithm;
  /** A power of two from 1024 to 65536. */
  readonly blockSize: number;
}

export const USUAL_VERITY: VerityParameters = { algorithm: 'sha256', blockSize: VERITY_BLOCK_SIZE };

const MIN_LOG2_BLOCK_SIZE = 10;
const MAX_LOG2_BLOCK_SIZE = 16;

export function isVerityBlockSize(size: number): boolean {
  const log2 = Math.log2(size);
  return Number.isInteger(log2) && log2 >= MIN_LOG2_BLOCK_SIZE && log2 <= MAX_LOG2_BLOCK_SIZE;
}

/** The algorithm whose digests have so many bytes: what tells them apart in images and dumps. */
export function algorithmOfDigest(digest: { readonly length: number }): VerityAlgorithm | undefined {
  if (digest.length === VERITY_ALGORITHMS.sha256.digestBytes) return 'sha256';
  return digest.length === VERITY_ALGORITHMS.sha512.digestBytes ? 'sha512' : undefined;
}

/** `fsverity-sha256-12:HEX`, as composefs-rs has it: the algorithm, the binary logarithm of the block size, the digest. */
export function formatVerityDigest(digest: Uint8Array, parameters = USUAL_VERITY): string {
  return `fsverity-${parameters.algorithm}-${Math.log2(parameters.blockSize)}:${hex(digest)}`;
}

/** Also bare hex, for blocks of 4096 bytes. Throws `digest-malformed`, `hex-malformed`. */
export function parseVerityDigest(text: string): { digest: Uint8Array } & VerityParameters {
  const colon = text.indexOf(':');
  const digest = parseHex(text.slice(colon + 1), `digest "${printable(text)}"`);
  const algorithm = algorithmOfDigest(digest);
  for (let log2 = MIN_LOG2_BLOCK_SIZE; algorithm !== undefined && log2 <= MAX_LOG2_BLOCK_SIZE; log2++) {
    const parameters: VerityParameters = { algorithm, blockSize: 2 ** log2 };
    const isBare = colon < 0 && parameters.blockSize === VERITY_BLOCK_SIZE;
    const prefix = formatVerityDigest(new Uint8Array(0), parameters);
    if (isBare || text.slice(0, colon + 1) === prefix) return { digest, ...parameters };
  }
  throw badInput(
    'digest-malformed',
    `cannot use digest "${printable(text)}": expected 64 or 128 hex digits, or fsverity-ALGORITHM-LOG2:DIGITS`,
  );
}

export interface VerityTree {
  /** All zeros for an empty file, as the kernel has it. */
  rootHash: Uint8Array;
  /** Hash blocks, leaf level first, each level zero-padded to whole blocks; none when the data fits one block. */
  levels: Uint8Array[];
}

/** For SHA-256 and blocks of 4096 bytes: bytes of the hash blocks above `dataSize` bytes of data, all levels. */
export function merkleTreeBytes(dataSize: number): number {
  let bytes = 0;
  for (let level = dataSize; level > VERITY_BLOCK_SIZE; ) {
    level = roundUp(Math.ceil(level / VERITY_BLOCK_SIZE) * VERITY_DIGEST_SIZE, VERITY_BLOCK_SIZE);
    bytes += level;
  }
  return bytes;
}

/** Hashes `data` block by block; the last block is padded with zeros. */
export function buildVerityTree(data: Uint8Array, hasher: Hasher, parameters = USUAL_VERITY): VerityTree {
  const { algorithm, blockSize } = parameters;
  const { digestBytes } = VERITY_ALGORITHMS[algorithm];
  const levels: Uint8Array[] = [];
  if (data.length === 0) return { rootHash: new Uint8Array(digestBytes), levels };
  let level = data;
  while (level.length > blockSize) {
    const count = Math.ceil(level.length / blockSize);
    const hashes = new Uint8Array(roundUp(count * digestBytes, blockSize));
    for (let i = 0; i < count; i++) {
      hashes.set(hashOf(block(level, i * blockSize, blockSize), hasher, algorithm), i * digestBytes);
    }
    level = hashes;
    levels.push(level);
  }
  return { rootHash: hashOf(block(level, 0, blockSize), hasher, algorithm), levels };
}

function hashOf(data: Uint8Array, hasher: Hasher, algorithm: VerityAlgorithm): Uint8Array {
  return algorithm === 'sha256' ? hasher.sha256(data) : hasher.sha512([data]);
}

function block(data: Uint8Array, offset: number, blockSize: number): Uint8Array {
  const part = data.subarray(offset, offset + blockSize);
  if (part.length === blockSize) return part;
  const padded = new Uint8Array(blockSize);
  padded.set(part);
  return padded;
}

const DESCRIPTOR_SIZE = 256;

/** struct fsverity_descriptor, the 256 bytes whose hash is the file's digest. */
export function verityDescriptor(
  dataSize: number,
  rootHash: Uint8Array,
  { algorithm, blockSize } = USUAL_VERITY,
): Uint8Array {
  const out = new Uint8Array(DESCRIPTOR_SIZE);
  const view = new DataView(out.buffer);
  view.setUint8(0, 1); // version
  view.setUint8(1, VERITY_ALGORITHMS[algorithm].id); // hash_algorithm
  view.setUint8(2, Math.log2(blockSize)); // log_blocksize
  // 3 salt_size, 4 sig_size: zero
  view.setBigUint64(8, BigInt(dataSize), true); // data_size
  out.set(rootHash, 16); // root_hash[64]
  // 80 salt[32], 112 reserved[144]: zero
  return out;
}

/** The digest that FS_IOC_MEASURE_VERITY reports for a file of these bytes: 32 bytes, with SHA-512 64. */
export function verityDigest(data: Uint8Array, hasher: Hasher, parameters = USUAL_VERITY): Uint8Array {
  const { rootHash } = buildVerityTree(data, hasher, parameters);
  return hashOf(verityDescriptor(data.length, rootHash, parameters), hasher, parameters.algorithm);
}

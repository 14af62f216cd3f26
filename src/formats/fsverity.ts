/**
 * fs-verity as the kernel computes it for SHA-256, 4096-byte blocks and no salt: Merkle tree, descriptor, digest.
 * Source: the kernel's Documentation/filesystems/fsverity.rst, "Merkle tree" and "fs-verity descriptor".
 * Other algorithms, block sizes, salts and built-in signatures are left out: composefs uses none of them.
 */

import { roundUp } from './bytes.ts';
import type { Hasher } from './hasher.ts';

export const VERITY_BLOCK_SIZE = 4096;
export const VERITY_DIGEST_SIZE = 32;
/** FS_VERITY_HASH_ALG_SHA256. */
export const VERITY_ALGORITHM_SHA256 = 1;

const DESCRIPTOR_SIZE = 256;
const LOG2_BLOCK_SIZE = 12;

export interface VerityTree {
  /** All zeros for an empty file, as the kernel has it. */
  rootHash: Uint8Array;
  /** Hash blocks, leaf level first, each level zero-padded to whole blocks; none when the data fits one block. */
  levels: Uint8Array[];
}

/** Bytes of the hash blocks above `dataSize` bytes of data, all levels. */
export function merkleTreeBytes(dataSize: number): number {
  let bytes = 0;
  for (let level = dataSize; level > VERITY_BLOCK_SIZE; ) {
    level = roundUp(Math.ceil(level / VERITY_BLOCK_SIZE) * VERITY_DIGEST_SIZE, VERITY_BLOCK_SIZE);
    bytes += level;
  }
  return bytes;
}

/** Hashes `data` block by block; the last block is padded with zeros. */
export function buildVerityTree(data: Uint8Array, hasher: Hasher): VerityTree {
  const levels: Uint8Array[] = [];
  if (data.length === 0) return { rootHash: new Uint8Array(VERITY_DIGEST_SIZE), levels };
  let level = data;
  while (level.length > VERITY_BLOCK_SIZE) {
    level = hashBlocks(level, hasher);
    levels.push(level);
  }
  return { rootHash: hasher.sha256(block(level, 0)), levels };
}

function hashBlocks(level: Uint8Array, hasher: Hasher): Uint8Array {
  const count = Math.ceil(level.length / VERITY_BLOCK_SIZE);
  const out = new Uint8Array(roundUp(count * VERITY_DIGEST_SIZE, VERITY_BLOCK_SIZE));
  for (let i = 0; i < count; i++) {
    out.set(hasher.sha256(block(level, i * VERITY_BLOCK_SIZE)), i * VERITY_DIGEST_SIZE);
  }
  return out;
}

function block(data: Uint8Array, offset: number): Uint8Array {
  const part = data.subarray(offset, offset + VERITY_BLOCK_SIZE);
  if (part.length === VERITY_BLOCK_SIZE) return part;
  const padded = new Uint8Array(VERITY_BLOCK_SIZE);
  padded.set(part);
  return padded;
}

/** struct fsverity_descriptor, the 256 bytes whose hash is the file's digest. */
export function verityDescriptor(dataSize: number, rootHash: Uint8Array): Uint8Array {
  const out = new Uint8Array(DESCRIPTOR_SIZE);
  const view = new DataView(out.buffer);
  view.setUint8(0, 1); // version
  view.setUint8(1, VERITY_ALGORITHM_SHA256); // hash_algorithm
  view.setUint8(2, LOG2_BLOCK_SIZE); // log_blocksize
  // 3 salt_size, 4 sig_size: zero
  view.setBigUint64(8, BigInt(dataSize), true); // data_size
  out.set(rootHash, 16); // root_hash[64]
  // 80 salt[32], 112 reserved[144]: zero
  return out;
}

/** The digest that FS_IOC_MEASURE_VERITY reports for a file of these bytes: 32 bytes. */
export function verityDigest(data: Uint8Array, hasher: Hasher): Uint8Array {
  return hasher.sha256(verityDescriptor(data.length, buildVerityTree(data, hasher).rootHash));
}

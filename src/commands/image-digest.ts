/** `sealroot image digest`: what the kernel would measure if the file had fs-verity. */

import { readBounded } from '../adapters/files.ts';
import { nodeHasher } from '../adapters/hasher.ts';
import { readStandardInput } from '../adapters/standard-input.ts';
import { hex } from '../formats/encoding.ts';
import { VERITY_BLOCK_SIZE, verityDigest } from '../formats/fsverity.ts';

/** An image holds metadata only: that of a system with a million files is some 300 MiB. */
export const MAX_IMAGE_BYTES = 1024 * 1024 * 1024;

export interface ImageDigestResult {
  image: string;
  /** Hex. */
  digest: string;
  algorithm: 'sha256';
  blockSize: number;
}

/** The bytes of an image file, or of standard input for `-`. */
export async function readImageFile(path: string): Promise<Uint8Array> {
  return path === '-' ? await readStandardInput(MAX_IMAGE_BYTES) : readBounded(path, MAX_IMAGE_BYTES);
}

/** The file is only read; whether it is an image does not matter. */
export async function imageDigest(options: { image: string }): Promise<ImageDigestResult> {
  const digest = hex(verityDigest(await readImageFile(options.image), nodeHasher));
  return { image: options.image, digest, algorithm: 'sha256', blockSize: VERITY_BLOCK_SIZE };
}

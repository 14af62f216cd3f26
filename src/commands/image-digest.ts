/** `sealroot image digest`: what the kernel would measure if the file had fs-verity. */

import { readBounded } from '../adapters/files.ts';
import { readStandardInput } from '../adapters/standard-input.ts';
import { verityOfBytes } from '../adapters/verity.ts';
import { hex } from '../formats/encoding.ts';
import type { VerityParameters } from '../formats/fsverity.ts';

/** An image holds metadata only: that of a system with a million files is some 300 MiB. */
export const MAX_IMAGE_BYTES = 1024 * 1024 * 1024;

export interface ImageDigestResult extends VerityParameters {
  image: string;
  /** Hex. */
  digest: string;
}

/** The bytes of an image file, or of standard input for `-`. */
export async function readImageFile(path: string): Promise<Uint8Array> {
  return path === '-' ? await readStandardInput(MAX_IMAGE_BYTES) : readBounded(path, MAX_IMAGE_BYTES);
}

/** The file is only read; whether it is an image does not matter. */
export async function imageDigest({
  image,
  ...parameters
}: { image: string } & VerityParameters): Promise<ImageDigestResult> {
  const digest = hex(verityOfBytes(await readImageFile(image), parameters));
  return { image, digest, ...parameters };
}

/** The composefs image of a deployment: opened once, measured by the kernel, and mounted through its descriptor. */

import { ascii } from '../src/formats/encoding.ts';
import type { SealrootError } from '../src/formats/errors.ts';
import { openedImage, openedSealedImage } from '../src/formats/opened-file.ts';
import { CALLS, nameBelow, type OpenDirectory, openForReading } from './files.ts';
import type * as sys from './sys.ts';

const IMAGE_NAME = ascii('.ostree.cfs');

export interface OpenImage {
  readonly fd: sys.Descriptor;
  readonly name: string;
  /** Of one in memory: what was wrong with the one on the disk. */
  readonly rebuiltFor?: SealrootError;
}

export function openImageFile(deployment: OpenDirectory): OpenImage {
  const name = nameBelow(deployment, IMAGE_NAME);
  return { fd: openedImage(CALLS, name, () => openForReading(deployment, IMAGE_NAME, name)), name };
}

/** The image, if its fs-verity digest is `digest`. */
export function openMeasuredImage(deployment: OpenDirectory, digest: Uint8Array): OpenImage {
  const name = nameBelow(deployment, IMAGE_NAME);
  const open = () => openForReading(deployment, IMAGE_NAME, name);
  return { fd: openedSealedImage(CALLS, name, digest, open), name };
}

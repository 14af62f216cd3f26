/** `sealroot image dump`: a composefs image as text. */

import { dumpImage } from '../formats/dump.ts';
import { readImageFile } from './image-digest.ts';

/** The lines of composefs-info dump. Throws bad input on anything but an image that composefs could have written. */
export async function imageDump(options: { image: string }): Promise<Uint8Array> {
  return dumpImage(await readImageFile(options.image));
}

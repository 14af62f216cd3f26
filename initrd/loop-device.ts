/** The loop device for kernels whose EROFS cannot mount a file: before 6.12, or built without EROFS_FS_BACKED_BY_FILE. */

import { ascii, type ByteString } from '../src/formats/encoding.ts';
import { systemError } from '../src/formats/errors.ts';
import {
  encodeLoopConfig,
  LO_FLAGS_AUTOCLEAR,
  LO_FLAGS_DIRECT_IO,
  LO_FLAGS_READ_ONLY,
  LOOP_ATTEMPTS,
  LOOP_CONFIGURE,
  LOOP_CTL_GET_FREE,
} from '../src/formats/linux.ts';
import type { OpenImage } from './image.ts';
import * as sys from './sys.ts';

/** Direct: or the image would be in memory twice. The kernel reads a file with fs-verity by its page cache all the same. */
const FLAGS = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO;
/** That of the images. */
const BLOCK_BYTES = 4096;

export function attachLoopDevice(image: OpenImage): { fd: sys.Descriptor; path: ByteString } {
  const control = sys.open(ascii('/dev/loop-control'), sys.O_RDWR);
  for (let attempt = 0; attempt < LOOP_ATTEMPTS; attempt++) {
    const number = sys.ioctl(control, LOOP_CTL_GET_FREE, 0, 'find a free loop device');
    const path = ascii(`/dev/loop${number}`);
    const fd = sys.open(path, sys.O_RDONLY);
    const config = encodeLoopConfig(image.fd, FLAGS, BLOCK_BYTES);
    try {
      sys.ioctl(fd, LOOP_CONFIGURE, config, `configure ${path} for ${image.name}`);
      sys.close(control);
      return { fd, path };
    } catch (error) {
      if (sys.errnoOf(error) !== 'EBUSY') throw error;
      sys.close(fd);
    }
  }
  throw systemError(
    'mount-failed',
    `cannot mount ${image.name}: no free loop device in ${LOOP_ATTEMPTS} attempts`,
  );
}

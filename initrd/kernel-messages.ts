/** What a file system says in words when it refuses to be mounted. */

import { toByteString } from '../src/formats/encoding.ts';
import * as sys from './sys.ts';

const MESSAGE_ROOM = 512;

/** What the file system wrote into its context's log, newest last. */
export function kernelMessages(context: sys.Descriptor): string {
  const found: string[] = [];
  const buffer = new Uint8Array(MESSAGE_ROOM);
  try {
    for (;;) {
      const length = sys.read(context, buffer, 'kernel messages');
      const end = length > 0 && buffer[length - 1] === 0x0a ? length - 1 : length;
      found.push(toByteString(buffer.subarray(0, end)));
    }
  } catch (error) {
    // ENODATA: no more.
    if (!(error instanceof sys.KernelError)) throw error;
  }
  return found.join(', ');
}

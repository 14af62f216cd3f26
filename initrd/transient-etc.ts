/** Where what is written to a transient /etc goes. */

import type { ByteString } from '../src/formats/encoding.ts';
import * as sys from './sys.ts';

/** A name that nobody uses: after a soft reboot there is one of the boot before. */
export function placeForEtc(): ByteString {
  for (let count = 0; ; count++) {
    const path = `/run/ostree/transient-etc.${String(count).padStart(6, '0')}` as ByteString;
    if (sys.statusAt(path) === undefined) return path;
  }
}

/** Bytes that mean nothing: composefs writes zeros, and what else stands there could be read by somebody else. */

import type { Place } from './erofs-findings.ts';
import type { Bytes } from './erofs-inode.ts';

/** One violation for the first byte of [start, end) that is not zero. */
export function requireZeros(image: Bytes, start: number, end: number, where: string, place?: Place): void {
  const { bytes } = image;
  for (let at = start; at < end; at++) {
    if (bytes[at] === 0) continue;
    image.findings.add('composefs-padding-not-zero', at, `the byte ${bytes[at]} stands ${where}`, place);
    return;
  }
}

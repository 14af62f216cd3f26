/** Bytes that mean nothing: composefs writes zeros, and what else stands there could be read by somebody else. */

import type { ErofsImage } from './erofs-image.ts';
import { ErofsInode } from './erofs-inode.ts';
import { NONE } from './erofs-tables.ts';

/** One violation for the first byte of [start, end) that is not zero; `row` is the inode that it is about. */
export function requireZeros(image: ErofsImage, start: number, end: number, where: string, row = NONE): void {
  const { bytes, words } = image;
  for (let at = start; at < end; at++) {
    // Whole words at a time.
    while ((at & 3) === 0 && at + 4 <= end && words[at >> 2] === 0) at += 4;
    if (at >= end || bytes[at] === 0) continue;
    const place = row === NONE ? undefined : new ErofsInode(image, row);
    image.findings.add('composefs-padding-not-zero', at, `the byte ${bytes[at]} stands ${where}`, place);
    return;
  }
}

/**
 * The image of a deployment, built again from the objects of its commit, for when the one on the disk is missing or is
 * not the signed one. It is used only if its digest is the signed one: nothing that the objects say needs to be trusted.
 */

import { equalBytes } from './bytes.ts';
import { hex } from './encoding.ts';
import { writeImage } from './erofs-write.ts';
import { refused, SealrootError } from './errors.ts';
import { verityDigest } from './fsverity.ts';
import type { Hasher } from './hasher.ts';
import { type ObjectSource, treeFromCommit } from './ostree-tree.ts';
import type { Verdict } from './verdict.ts';

export const REBUILT_IMAGE = 'the image built from the objects';

/**
 * What `use` makes of the image. What is wrong with the one on the disk is `damage`; it is thrown, with the reason, when
 * there is no other.
 */
export function rebuiltImage<T>(
  verdict: Verdict,
  damage: SealrootError,
  { objects, hasher }: { objects: () => ObjectSource; hasher: Hasher },
  use: (image: Uint8Array) => T,
): T {
  try {
    const image = writeImage(treeFromCommit(verdict.commit, objects()));
    const digest = verityDigest(image, hasher);
    if (!equalBytes(digest, verdict.digest)) {
      throw refused('image-digest-mismatch', `the digest of ${REBUILT_IMAGE} is ${hex(digest)}`);
    }
    return use(image);
  } catch (error) {
    if (!(error instanceof SealrootError)) throw error;
    const { kind, code, message, hint } = damage;
    throw new SealrootError(kind, code, `${message}, and building it again failed: ${error.message}`, hint);
  }
}

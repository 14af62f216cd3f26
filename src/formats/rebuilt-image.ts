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

/** Throws why there is none: an object that is missing or not usable, or another digest than the signed one. */
export function rebuiltImage(
  verdict: Verdict,
  { objects, hasher }: { objects: () => ObjectSource; hasher: Hasher },
): Uint8Array {
  const image = writeImage(treeFromCommit(verdict.commit, objects()), { pathsHaveDigests: true });
  const digest = verityDigest(image, hasher);
  if (equalBytes(digest, verdict.digest)) return image;
  throw refused('image-digest-mismatch', `the digest of ${REBUILT_IMAGE} is ${hex(digest)}`);
}

/** What is wrong with the image on the disk is `damage`; it is thrown, with the reason, when `rebuild` has no other. */
export function insteadOfDamaged<T>(damage: SealrootError, rebuild: () => T): T {
  try {
    return rebuild();
  } catch (error) {
    if (!(error instanceof SealrootError)) throw error;
    const { kind, code, message, hint } = damage;
    throw new SealrootError(kind, code, `${message}, and building it again failed: ${error.message}`, hint);
  }
}

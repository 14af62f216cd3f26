/** From a commit in a repository to its composefs image: the same bytes that `ostree checkout --composefs` writes. */

import { writeImage } from '../formats/erofs-write.ts';
import { verityDigest } from '../formats/fsverity.ts';
import { parseCommit } from '../formats/ostree-objects.ts';
import { type ObjectSource, treeFromCommit } from '../formats/ostree-tree.ts';
import { validateTree } from '../formats/tree.ts';
import { nodeHasher } from './hasher.ts';
import type { ObjectStore } from './object-store.ts';

export interface BuiltImage {
  readonly image: Uint8Array;
  /** The image's fs-verity digest: what `ostree.composefs.digest.v0` holds. */
  readonly digest: Uint8Array;
}

export interface ImageProgress {
  /** Distinct files read so far, and their bytes. */
  readonly files: number;
  readonly bytes: number;
}

/** The commit's bytes are those of its checksum; the caller decides whether they are to be trusted. */
export function buildImage(
  store: ObjectStore,
  checksum: string,
  onProgress?: (progress: ImageProgress) => void,
): BuiltImage {
  const commit = parseCommit(store.commit(checksum), `commit ${checksum}`);
  const source = onProgress === undefined ? store : counting(store, onProgress);
  const image = writeImage(validateTree(treeFromCommit(commit, source)));
  return { image, digest: verityDigest(image, nodeHasher) };
}

function counting(store: ObjectStore, report: (progress: ImageProgress) => void): ObjectSource {
  let files = 0;
  let bytes = 0;
  return {
    dirTree: (checksum) => store.dirTree(checksum),
    dirMeta: (checksum) => store.dirMeta(checksum),
    file: (checksum) => {
      const file = store.file(checksum);
      files++;
      bytes += file.size;
      report({ files, bytes });
      return file;
    },
  };
}

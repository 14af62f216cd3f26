/** From a commit in a repository to its composefs image: the same bytes that `ostree checkout --composefs` writes. */

import { writeImage } from '../formats/erofs-write.ts';
import { USUAL_VERITY, type VerityAlgorithm } from '../formats/fsverity.ts';
import { parseCommit } from '../formats/ostree-objects.ts';
import { type ObjectSource, type TreeOptions, treeFromCommit } from '../formats/ostree-tree.ts';
import type { StoredFile } from './object-file.ts';
import type { ObjectStore } from './object-store.ts';
import { verityOfBytes } from './verity.ts';

export interface BuiltImage {
  readonly image: Uint8Array;
  /** The image's fs-verity digest: what `ostree.composefs.digest.v0` holds. Computed when it is asked for. */
  readonly digest: Uint8Array;
}

export interface ImageProgress {
  /** Distinct files read so far, and their bytes. */
  readonly files: number;
  readonly bytes: number;
  /** Distinct files in all. */
  readonly of: number;
}

export interface BuildOptions {
  readonly onProgress?: ((progress: ImageProgress) => void) | undefined;
  /** Called once for each file object when it has been read; what it throws ends the work. */
  readonly onFile?: (checksum: string, file: StoredFile) => void;
  /** Of the image's own digest; SHA-256 when absent. That of the files is the store's. */
  readonly algorithm?: VerityAlgorithm | undefined;
  /** As for treeFromCommit. */
  readonly dirTrees?: TreeOptions['dirTrees'];
}

/** The commit's bytes are those of its checksum; the caller decides whether they are to be trusted. */
export function buildImage(store: ObjectStore, checksum: string, options: BuildOptions = {}): BuiltImage {
  const commit = parseCommit(store.commit(checksum), `commit ${checksum}`);
  try {
    const tree = treeFromCommit(commit, observed(store, options), options);
    const image = writeImage(tree, { pathsHaveDigests: true });
    const { algorithm = 'sha256' } = options;
    return {
      image,
      get digest() {
        return verityOfBytes(image, { ...USUAL_VERITY, algorithm });
      },
    };
  } finally {
    store.release();
  }
}

function observed(store: ObjectStore, { onProgress, onFile }: BuildOptions): ObjectSource {
  let files = 0;
  let bytes = 0;
  return {
    dirTree: (checksum) => store.dirTree(checksum),
    dirMeta: (checksum) => store.dirMeta(checksum),
    announce: (checksums) => store.announce(checksums),
    file: (checksum, job) => {
      const file = store.file(checksum, job);
      onFile?.(checksum, file);
      files++;
      bytes += file.size;
      onProgress?.({ files, bytes, of: store.announced });
      return file;
    },
  };
}

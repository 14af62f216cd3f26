/** `sealroot image create`: the composefs image of a commit. */

import { lstatSync } from 'node:fs';
import { writeAtomically } from '../adapters/files.ts';
import { buildImage } from '../adapters/image.ts';
import { openObjectStore } from '../adapters/object-store.ts';
import { resolveRevision } from '../adapters/ostree-repo.ts';
import { imageProgress, type Progress } from '../adapters/progress.ts';
import { hex } from '../formats/encoding.ts';
import { usageError } from '../formats/errors.ts';

export interface ImageCreateOptions {
  repo: string;
  rev: string;
  /** A path, or `-`: the image is only returned. */
  output: string;
  /** False: files without digests, which a mount then does not verify. */
  digests?: boolean;
  progress?: Progress;
}

export interface ImageCreateResult {
  commit: string;
  /** fs-verity digest, hex. */
  digest: string;
  image: Uint8Array;
}

/** The file appears whole or not at all; what is no regular file is never replaced. */
export async function imageCreate(options: ImageCreateOptions): Promise<ImageCreateResult> {
  const { output, progress } = options;
  if (output !== '-') requireReplaceable(output);
  const store = openObjectStore(options.repo, { digests: options.digests === false ? 'none' : 'compute' });
  const commit = await resolveRevision(options.repo, options.rev);
  const { image, digest } = buildImage(store, commit, { onProgress: imageProgress(progress) });
  progress?.finish();
  if (output !== '-') writeAtomically(output, image, 0o644);
  return { commit, digest: hex(digest), image };
}

/** The new file takes the name over: it would replace /dev/null as readily as an old image. */
function requireReplaceable(path: string): void {
  const present = lstatSync(path, { throwIfNoEntry: false });
  if (present === undefined || present.isFile()) return;
  throw usageError(
    'output-not-a-file',
    `cannot write image ${path}: it exists and is not a regular file`,
    'give the path of a file, or - for standard output',
  );
}

/** `sealroot image create`: the composefs image of a commit. */

import { lstatSync } from 'node:fs';
import { DigestCache, digestCachePath } from '../adapters/digest-cache.ts';
import { writeAtomically } from '../adapters/files.ts';
import { buildImage } from '../adapters/image.ts';
import { openObjectStore } from '../adapters/object-store.ts';
import { resolveRevision } from '../adapters/ostree-repo.ts';
import { type Progress, readingProgress } from '../adapters/progress.ts';
import { usageError } from '../formats/errors.ts';
import { formatVerityDigest, USUAL_VERITY, type VerityAlgorithm } from '../formats/fsverity.ts';

export interface ImageCreateOptions {
  repo: string;
  rev: string;
  /** A path, or `-`: the image is only returned. */
  output: string;
  /** False: files without digests, which a mount then does not verify. */
  digests?: boolean;
  /** False: every object is read, and nothing of it kept for the next time. */
  cache?: boolean;
  /** Of the files' digests and the image's own; SHA-256, the only one that a sealed commit has, when absent. */
  algorithm?: VerityAlgorithm;
  progress?: Progress;
}

export interface ImageCreateResult {
  commit: string;
  /** fs-verity digest with its parameters, see formatVerityDigest. */
  digest: string;
  image: Uint8Array;
  warnings: string[];
}

/** The file appears whole or not at all; what is no regular file is never replaced. */
export async function imageCreate(options: ImageCreateOptions): Promise<ImageCreateResult> {
  const { output, progress } = options;
  if (output !== '-') requireReplaceable(output);
  const digests = options.digests ?? true;
  const { algorithm = 'sha256' } = options;
  // It holds SHA-256 digests.
  const isCached = digests && algorithm === 'sha256' && (options.cache ?? true);
  const cache = isCached ? openCache(options.repo) : undefined;
  const store = openObjectStore(options.repo, { digests: digests ? 'compute' : 'none', algorithm, cache });
  const commit = await resolveRevision(options.repo, options.rev);
  const built = buildImage(store, commit, {
    onProgress: readingProgress(progress, 'objects'),
    algorithm,
  });
  progress?.finish();
  const { image } = built;
  const written = output === '-' ? undefined : writeAtomically(output, image, 0o644);
  const fault = cache?.save();
  const text = formatVerityDigest(built.digest, { ...USUAL_VERITY, algorithm });
  await written;
  return { commit, digest: text, image, warnings: fault === undefined ? [] : [fault] };
}

function openCache(repo: string): DigestCache | undefined {
  const file = digestCachePath(repo);
  return file === undefined ? undefined : new DigestCache(file);
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

/**
 * What to say when an image is not the one that was expected, and that one is at hand: which path differs. A digest
 * alone tells nobody where to look.
 */

import { readdirSync, realpathSync } from 'node:fs';
import path from 'node:path';
import { readBounded } from '../adapters/files.ts';
import { verityOfBytes } from '../adapters/verity.ts';
import { equalBytes } from '../formats/bytes.ts';
import { readImage } from '../formats/erofs-read.ts';
import { SealrootError } from '../formats/errors.ts';
import { diffTrees } from '../formats/tree-diff.ts';
import { differenceText, recordOf } from './image-diff.ts';
import { MAX_IMAGE_BYTES } from './image-digest.ts';

/** Where ostree keeps a deployment's composefs image (ostree-prepare-root(1)). */
export const DEPLOYMENT_IMAGE = '.ostree.cfs';

export interface Mismatch {
  /** The repository of the commit. */
  repo: string;
  checksum: string;
  /** The image that its objects make. */
  computed: Uint8Array;
  /** The digest that was expected of it. */
  expected: Uint8Array;
  /** A file that may be the expected image. */
  image?: string | undefined;
}

/**
 * Runs a comparison of digests. What it throws also says which path differs first, where an image with the expected
 * digest is at hand: `image`, or that of a deployment of the commit beside its repository.
 */
export function explained<T>(mismatch: Mismatch, compare: () => T): T {
  try {
    return compare();
  } catch (error) {
    if (!(error instanceof SealrootError)) throw error;
    const { kind, code, message, hint } = error;
    const where = knownDifference(mismatch);
    throw new SealrootError(kind, code, where === undefined ? message : `${message}; ${where}`, hint);
  }
}

function knownDifference(mismatch: Mismatch): string | undefined {
  for (const file of candidates(mismatch)) {
    const difference = firstDifference(file, mismatch);
    if (difference !== undefined)
      return `from ${file}, which has the expected digest, the first is ${difference}`;
  }
  return undefined;
}

function* candidates({ repo, checksum, image }: Mismatch): Generator<string> {
  if (image !== undefined) yield image;
  for (const stateroot of namesIn(() => path.join(path.dirname(realpathSync(repo)), 'deploy'))) {
    for (const deployment of namesIn(() => path.join(stateroot, 'deploy'))) {
      const name = path.basename(deployment);
      if (name.startsWith(`${checksum}.`) && !name.endsWith('.origin'))
        yield path.join(deployment, DEPLOYMENT_IMAGE);
    }
  }
}

/** Paths of what is in a folder; of one that is not there, none. */
function namesIn(folder: () => string): string[] {
  try {
    const place = folder();
    return readdirSync(place)
      .sort()
      .map((name) => path.join(place, name));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).syscall === undefined) throw error;
    return [];
  }
}

/** undefined when the file is not the expected image, or cannot be read: the search is a courtesy. */
function firstDifference(file: string, { computed, expected }: Mismatch): string | undefined {
  try {
    const image = readBounded(file, MAX_IMAGE_BYTES);
    if (!equalBytes(verityOfBytes(image), expected)) return undefined;
    const [first] = diffTrees(readImage(image), readImage(computed));
    return first === undefined ? undefined : differenceText(recordOf(first)).trimEnd();
  } catch (error) {
    if (error instanceof SealrootError) return undefined;
    throw error;
  }
}

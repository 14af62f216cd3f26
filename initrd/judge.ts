/** The verdict on a deployment's commit, as it lies in the repository of the physical root; on one of bootc's that on its base. */

import type { ByteString } from '../src/formats/encoding.ts';
import { SealrootError } from '../src/formats/errors.ts';
import { MAX_COMMIT_BYTES } from '../src/formats/ostree-objects.ts';
import {
  decide,
  type Floor,
  highestFloor,
  requireNotBelow,
  type Verdict,
  type VerdictInput,
} from '../src/formats/verdict.ts';
import type { PhysicalRoot } from './deployment.ts';
import { listDeployments } from './deployments.ts';
import { readBelow } from './files.ts';
import { seldom } from './load.ts';
import { warn } from './report.ts';
import * as sys from './sys.ts';
import type { Trust } from './trust.ts';

/** Throws what `decide` throws, and `commit-missing`. */
export function judge(root: PhysicalRoot, checksum: string, trust: Trust): Verdict {
  const verdict = decide(verdictInput(root, checksum, trust));
  for (const warning of verdict.warnings) warn(warning);
  return verdict;
}

/** Throws `commit-below-floor` when a sealed commit that is deployed here forbids one as old as this. */
export function checkFloor(root: PhysicalRoot, verdict: Verdict, trust: Trust): void {
  const floor = floorOf(root, trust, verdict.checksum);
  if (floor !== undefined) requireNotBelow(verdict, floor);
}

/** `except`: a commit that passed the verdict sets no floor above itself. */
function floorOf(root: PhysicalRoot, trust: Trust, except: string): Floor | undefined {
  const checksums = new Set(listDeployments(root).map(({ checksum }) => checksum));
  checksums.delete(except);
  return highestFloor(checksums, (checksum) => verdictInput(root, checksum, trust));
}

function verdictInput(root: PhysicalRoot, checksum: string, { keys, demands }: Trust): VerdictInput {
  const commit = readObject(root, checksum, 'commit', 'commit-missing');
  try {
    return {
      commit,
      checksum,
      commitmeta: readCommitMeta(root, checksum),
      keys,
      demands,
      hasher: sys.hasher,
    };
  } catch (error) {
    if (!(error instanceof SealrootError) || error.code !== COMMITMETA_MISSING) throw error;
    const base = seldom().baseOfBootcCommit(commit, checksum, sys.hasher);
    if (base === undefined) throw error;
    const commitmeta = readCommitMeta(root, base);
    const baseCommit = readObject(root, base, 'commit', 'commit-missing');
    return { commit: baseCommit, checksum: base, commitmeta, keys, demands, hasher: sys.hasher };
  }
}

const COMMITMETA_MISSING = 'commitmeta-missing';

function readCommitMeta(root: PhysicalRoot, checksum: string): Uint8Array {
  return readObject(root, checksum, 'commitmeta', COMMITMETA_MISSING);
}

function readObject(root: PhysicalRoot, checksum: string, type: string, missing: string): Uint8Array {
  const path = `ostree/repo/objects/${checksum.slice(0, 2)}/${checksum.slice(2)}.${type}` as ByteString;
  return readBelow(root, path, MAX_COMMIT_BYTES, { missing, unsafe: 'not-a-regular-file' });
}

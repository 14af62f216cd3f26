/** The verdict on a deployment's commit, as it lies in the repository of the physical root; on one of bootc's that on its base. */

import type { ByteString } from '../src/formats/encoding.ts';
import { SealrootError } from '../src/formats/errors.ts';
import { MAX_COMMIT_BYTES } from '../src/formats/ostree-objects.ts';
import {
  decide,
  type Floor,
  highestFloor,
  MAX_SIGNATURES,
  requireNotBelow,
  type Verdict,
  type VerdictBudget,
  type VerdictInput,
} from '../src/formats/verdict.ts';
import type { PhysicalRoot } from './deployment.ts';
import { listDeployments } from './deployments.ts';
import { readBelow } from './files.ts';
import { seldom } from './load.ts';
import { warn } from './report.ts';
import * as sys from './sys.ts';
import type { Trust } from './trust.ts';

/** What the disk may still make us do. */
export interface Budget extends VerdictBudget {
  /** Of commits and detached metadata: 16 MiB take seconds, and may be anybody's. */
  bytesLeft: number;
}

/** For all the deployments that nobody has named: as much as two of the largest, or hundreds of usual ones, take. */
export function budgetOfOthers(): Budget {
  return { bytesLeft: 2 * MAX_COMMIT_BYTES, trialsLeft: 4 * MAX_SIGNATURES };
}

const UNLIMITED: Budget = { bytesLeft: Number.POSITIVE_INFINITY, trialsLeft: Number.POSITIVE_INFINITY };

/** Throws what `decide` throws, and `commit-missing`. */
export function judge(root: PhysicalRoot, checksum: string, trust: Trust, budget = UNLIMITED): Verdict {
  const verdict = decide(verdictInput(root, checksum, trust, budget));
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
  const budget = budgetOfOthers();
  return highestFloor(checksums, (checksum) => verdictInput(root, checksum, trust, budget));
}

function verdictInput(
  root: PhysicalRoot,
  checksum: string,
  { keys, demands }: Trust,
  budget: Budget,
): VerdictInput {
  const read = (of: string, type: string, missing: string) => readObject(root, of, type, missing, budget);
  const commit = read(checksum, 'commit', COMMIT_MISSING);
  try {
    const commitmeta = read(checksum, 'commitmeta', COMMITMETA_MISSING);
    return { commit, checksum, commitmeta, keys, demands, hasher: sys.hasher, budget };
  } catch (error) {
    if (!(error instanceof SealrootError) || error.code !== COMMITMETA_MISSING) throw error;
    const base = seldom().baseOfBootcCommit(commit, checksum, sys.hasher);
    if (base === undefined) throw error;
    const commitmeta = read(base, 'commitmeta', COMMITMETA_MISSING);
    const baseCommit = read(base, 'commit', COMMIT_MISSING);
    return { commit: baseCommit, checksum: base, commitmeta, keys, demands, hasher: sys.hasher, budget };
  }
}

const COMMIT_MISSING = 'commit-missing';
const COMMITMETA_MISSING = 'commitmeta-missing';

function readObject(
  root: PhysicalRoot,
  checksum: string,
  type: string,
  missing: string,
  budget: Budget,
): Uint8Array {
  const path = `ostree/repo/objects/${checksum.slice(0, 2)}/${checksum.slice(2)}.${type}` as ByteString;
  const codes = { missing, unsafe: 'not-a-regular-file' };
  const bytes = readBelow(root, path, Math.min(MAX_COMMIT_BYTES, budget.bytesLeft), codes);
  budget.bytesLeft -= bytes.length;
  return bytes;
}

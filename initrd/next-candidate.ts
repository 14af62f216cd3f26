/**
 * The candidates on the disk, for a boot that names none or whose own was refused. Every one of them has to pass the same
 * verdict; nothing on the disk can do more than take a candidate away.
 */

import type { PassedOver } from '../src/formats/boot-report.ts';
import { ascii, type ByteString, isChecksum, printable, toByteString } from '../src/formats/encoding.ts';
import { refused, SealrootError } from '../src/formats/errors.ts';
import { floorOf, higherFloor, requireNotBelow, type Verdict } from '../src/formats/verdict.ts';
import type { Boot, Choice } from './candidates.ts';
import { openAt, type PhysicalRoot } from './deployment.ts';
import { type DeploymentPath, deploymentPathOf } from './deployment-path.ts';
import { listDeployments } from './deployments.ts';
import { readBelow, typeBelow } from './files.ts';
import { budgetOfOthers, judge } from './judge.ts';
import { noteRefusal, warn } from './report.ts';
import * as sys from './sys.ts';
import type { Trust } from './trust.ts';

export interface Search<T> {
  readonly boot: Boot<T>;
  /** What the boot entry names, and why it did not boot. */
  readonly refused?: { readonly deployment: ByteString; readonly error: unknown };
}

/**
 * Calls `boot` with one deployment after the other until it succeeds, and returns what it returns. Throws the refusal
 * of the named deployment, or `no-candidate`.
 */
export function bootNext<T>(root: PhysicalRoot, trust: Trust, { boot, refused: first }: Search<T>): T {
  const passedOver: PassedOver[] = [];
  const passOver = (deployment: ByteString, error: unknown): void => {
    if (!(error instanceof SealrootError) || !isInPlace(root)) throw error;
    noteRefusal(deployment, error);
    passedOver.push({ deployment, code: error.code, message: error.message });
  };
  if (first !== undefined) passOver(first.deployment, first.error);
  for (const candidate of candidates(root, trust, passOver)) {
    if (candidate.path === first?.deployment) continue;
    try {
      return boot(openCandidate(root, candidate), passedOver);
    } catch (error) {
      passOver(candidate.path, error);
    }
  }
  throw first?.error ?? noCandidate(root, passedOver.length);
}

function noCandidate(root: PhysicalRoot, refusals: number): SealrootError {
  return refused(
    'no-candidate',
    `cannot choose a deployment below ${root.path}: none may boot, ${refusals} were refused`,
  );
}

/** After a failure behind the point where the new root takes its place there is nothing to go on with. */
function isInPlace(root: PhysicalRoot): boolean {
  const there = sys.statusAt(root.place);
  const ours = sys.statusOf(root.fd, root.path);
  return (
    there?.inode === ours.inode &&
    there.device.major === ours.device.major &&
    there.device.minor === ours.device.minor
  );
}

interface Candidate extends DeploymentPath {
  readonly verdict: Verdict;
}

function openCandidate(root: PhysicalRoot, candidate: Candidate): Choice {
  return { deployment: openAt(root, candidate), verdict: candidate.verdict, kernel: sys.kernelRelease() };
}

/** The newest signed timestamp first, then the highest checksum, then the later deployment of one commit. */
function candidates(
  root: PhysicalRoot,
  trust: Trust,
  passOver: (deployment: ByteString, error: unknown) => void,
): Candidate[] {
  const judged: Candidate[] = [];
  const budget = budgetOfOthers();
  for (const path of listDeployments(root)) {
    try {
      const known = judged.find(({ checksum }) => checksum === path.checksum);
      judged.push({ ...path, verdict: known?.verdict ?? judge(root, path.checksum, trust, budget) });
    } catch (error) {
      passOver(path.path, error);
    }
  }
  const floor = judged.map(({ verdict }) => floorOf(verdict)).reduce(higherFloor, undefined);
  const skipped = readSkips(root);
  const found: Candidate[] = [];
  for (const candidate of judged) {
    try {
      if (floor !== undefined) requireNotBelow(candidate.verdict, floor);
      if (!skipped.some((name) => names(name, candidate))) found.push(candidate);
    } catch (error) {
      passOver(candidate.path, error);
    }
  }
  return found.sort((a, b) => (isBefore(a, b) ? -1 : 1));
}

function isBefore(a: Candidate, b: Candidate): boolean {
  const [mine, other] = [a.verdict.commit.timestamp, b.verdict.commit.timestamp];
  if (mine !== other) return mine > other;
  if (a.checksum !== b.checksum) return a.checksum > b.checksum;
  return serialOf(a) > serialOf(b);
}

function serialOf({ path }: DeploymentPath): number {
  return Number(path.slice(path.lastIndexOf('.') + 1));
}

const SKIP_PATH = ascii('ostree/sealroot-skip');
const MAX_SKIP_BYTES = 64 * 1024;

/** Checksums, and deployments as CHECKSUM.SERIAL, one a line: candidates that somebody does not want. */
function readSkips(root: PhysicalRoot): string[] {
  if (typeBelow(root, SKIP_PATH) === undefined) return [];
  let lines: string[];
  try {
    const codes = { missing: 'not-a-regular-file', unsafe: 'not-a-regular-file' };
    lines = toByteString(readBelow(root, SKIP_PATH, MAX_SKIP_BYTES, codes)).split('\n');
  } catch (error) {
    if (!(error instanceof SealrootError)) throw error;
    warn(`cannot follow ${SKIP_PATH}: ${error.message}`);
    return [];
  }
  const wanted = lines.filter((line) => line !== '' && !line.startsWith('#'));
  const usable = wanted.filter(isName);
  if (usable.length < wanted.length) {
    const others = `${wanted.length - usable.length} of its lines are no CHECKSUM or CHECKSUM.SERIAL`;
    const first = wanted.find((line) => !isName(line)) ?? '';
    warn(`cannot follow ${SKIP_PATH}: ${others}, the first is "${printable(first)}"`);
  }
  return usable;
}

function isName(line: string): boolean {
  return isChecksum(line) || deploymentPathOf(`ostree/deploy/os/deploy/${line}` as ByteString) !== undefined;
}

function names(name: string, { checksum, path }: DeploymentPath): boolean {
  return name === checksum || path.endsWith(`/${name}`);
}

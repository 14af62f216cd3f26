/**
 * `sealroot seal`: a commit gets the digest of its image and our signatures. The commit that is signed is the one
 * that the verdict accepts: the boot's own decision is taken on the very bytes before they are written.
 */

import { resolve } from 'node:path';
import { destroyKey, requireDestroyable } from '../adapters/destroy-key.ts';
import { nodeHasher } from '../adapters/hasher.ts';
import { buildImage } from '../adapters/image.ts';
import { loadSecretKey, sign } from '../adapters/keys.ts';
import { type ObjectCheck, openObjectCheck } from '../adapters/object-check.ts';
import { type ObjectStore, openObjectStore } from '../adapters/object-store.ts';
import { type OstreeRepo, openRepo } from '../adapters/ostree-repo.ts';
import { type Progress, readingProgress } from '../adapters/progress.ts';
import { equalBytes } from '../formats/bytes.ts';
import { base64, hex, isChecksum, printable } from '../formats/encoding.ts';
import { badInput, refused, usageError } from '../formats/errors.ts';
import type { Vardict } from '../formats/gvariant.ts';
import type { SecretKey } from '../formats/keys.ts';
import {
  type Commit,
  encodeCommit,
  encodeCommitMeta,
  parseCommit,
  parseCommitMeta,
} from '../formats/ostree-objects.ts';
import {
  requireSameDigest,
  signatureNames,
  statedDigest,
  withSeal,
  withSignatures,
  withUnsignedEntries,
} from '../formats/sealing.ts';
import { decide, readFloor } from '../formats/verdict.ts';
import { explained } from './image-mismatch.ts';

export interface SealOptions {
  repo: string;
  /** A branch, or, where nothing has to be written anew, whatever names a commit. */
  ref: string;
  /** Paths of secret keys. */
  keys: readonly string[];
  /** The signatures of a commit that is written anew may be dropped. */
  resign?: boolean;
  /** Seconds since 1970: while the commit is deployed, no older one is to boot. */
  floor?: bigint | undefined;
  /** Destroy the secret keys after they have signed. */
  destroyKey?: boolean;
  progress?: Progress;
}

export interface SealResult {
  ref: string;
  /** The sealed commit. */
  commit: string;
  /** The commit that the branch named before, when it was written anew. */
  replaced?: string;
  /** fs-verity digest of the image, hex. */
  digest: string;
  /** The floor that the commit sets, seconds since 1970. */
  floor?: number;
  /** One for each key: base64 of the public key, and whether its signature is new. */
  signatures: { publicKey: string; added: boolean }[];
  /** Signatures of the replaced commit, by key and number. */
  dropped: string[];
  /** Files of secret keys that are no more. */
  destroyed: string[];
  warnings: string[];
}

/** What is to be signed, and where it goes. */
interface Subject {
  repo: OstreeRepo;
  store: ObjectStore;
  ref: string;
  checksum: string;
  commit: Commit;
  bytes: Uint8Array;
  secrets: readonly SecretKey[];
  /** Why the commit has to be written anew; undefined: it has not. */
  rewrite: string | undefined;
  floor: bigint | undefined;
}

type Sealed = Omit<SealResult, 'ref' | 'digest' | 'floor' | 'destroyed' | 'warnings'>;

/** Either all of it happens or nothing: the repository changes in one step, after everything was computed. */
export async function seal(options: SealOptions): Promise<SealResult> {
  if (options.keys.length === 0) throw usageError('key-missing', 'cannot seal: no secret key was given');
  const paths = distinct(options.keys, (a, b) => resolve(a) === resolve(b));
  const loaded = paths.map((path) => loadSecretKey(path));
  const secrets = distinct(loaded, (a, b) => equalBytes(a.publicKey, b.publicKey));
  const warnings = loaded.flatMap((secret) => secret.warnings);
  if (options.destroyKey) for (const path of paths) requireDestroyable(path);

  const store = openObjectStore(options.repo);
  const repo = await openRepo(options.repo);
  const checksum = isChecksum(options.ref) ? options.ref : repo.resolveRev(options.ref);
  const bytes = store.commit(checksum);
  const commit = parseCommit(bytes, `commit ${checksum}`);
  const stated = statedDigest(commit, `commit ${checksum}`);
  const floor = options.floor ?? readFloor(commit.metadata, `commit ${checksum}`);
  requireAboveOwnFloor(commit, checksum, floor);
  const subject: Subject = {
    repo,
    store,
    ref: options.ref,
    checksum,
    commit,
    bytes,
    secrets,
    rewrite: reasonToRewrite(commit, checksum, stated, floor),
    floor,
  };
  if (subject.rewrite !== undefined) requireRewritable(subject, options.resign ?? false);
  const onFile = fileCheck(store, await openObjectCheck(options.repo));
  const { image, digest } = buildImage(store, checksum, {
    onProgress: readingProgress(options.progress, 'objects'),
    onFile,
  });
  options.progress?.finish();
  if (stated !== undefined) {
    const mismatch = { repo: options.repo, checksum, computed: image, expected: stated };
    explained(mismatch, () => requireSameDigest(`commit ${checksum}`, stated, digest, 'seal'));
  }
  const sealed =
    subject.rewrite === undefined
      ? addSignatures(subject)
      : rewrite(subject, digest, options.resign ?? false);

  const destroyed = options.destroyKey ? paths : [];
  for (const path of destroyed) destroyKey(path);
  const set = floor === undefined ? {} : { floor: Number(floor) };
  return { ref: options.ref, ...sealed, ...set, digest: hex(digest), destroyed, warnings };
}

/**
 * Every file's content must have its checksum. The image vouches for content by fs-verity alone: without this a damaged
 * object would be sealed as if it were the commit's.
 */
function fileCheck(store: ObjectStore, check: ObjectCheck): (checksum: string) => void {
  return (checksum) => {
    const fault = check(checksum);
    if (fault === undefined) return;
    throw badInput(
      'object-corrupt',
      `cannot seal object ${store.filePath(checksum)}: ${fault}`,
      'the repository is damaged: run ostree fsck',
    );
  };
}

/** Of those that are the same the first. */
function distinct<T>(values: readonly T[], same: (a: T, b: T) => boolean): T[] {
  return values.filter((value, i) => values.findIndex((other) => same(other, value)) === i);
}

function reasonToRewrite(
  { metadata }: Commit,
  checksum: string,
  digest: Uint8Array | undefined,
  floor: bigint | undefined,
): string | undefined {
  if (digest === undefined) return 'names no image digest';
  return floor === readFloor(metadata, `commit ${checksum}`) ? undefined : `does not set the floor ${floor}`;
}

/** A commit below its own floor would boot nowhere after the next update. */
function requireAboveOwnFloor({ timestamp }: Commit, checksum: string, floor: bigint | undefined): void {
  if (floor === undefined || floor <= timestamp) return;
  throw refused(
    'floor-above-commit',
    `cannot seal commit ${checksum}: its timestamp is ${timestamp}, the floor would be ${floor}`,
    'give the timestamp of the oldest commit that may still boot beside this one',
  );
}

/** Asked before the image is computed, which takes long, and again when the repository is locked. */
function requireRewritable({ repo, store, ref, checksum, rewrite }: Subject, resign: boolean): void {
  const fact = `cannot seal ${printable(ref)}: commit ${checksum} ${rewrite} and has to be written anew`;
  if (repo.localBranch(ref) !== checksum) {
    throw usageError(
      'branch-required',
      `${fact}, but ${printable(ref)} is not a local branch`,
      `give the branch to move, or make one: ostree refs --repo=${repo.path} --create=BRANCH ${ref}`,
    );
  }
  if (repo.isAlias(ref)) {
    throw usageError(
      'branch-required',
      `${fact}, but ${ref} is an alias`,
      'give the branch that it stands for',
    );
  }
  requireNothingDropped(store, ref, checksum, resign);
}

/** The names of the signatures that are dropped. Throws `signatures-dropped` if there are any, unless allowed. */
function requireNothingDropped(store: ObjectStore, ref: string, checksum: string, resign: boolean): string[] {
  const names = signatureNames(detachedOf(store.commitMeta(checksum), checksum));
  if (names.length > 0 && !resign) {
    throw refused(
      'signatures-dropped',
      `cannot seal ${ref}: commit ${checksum} has to be written anew, which drops its signatures ${names.join(', ')}`,
      'pass --resign to drop them; the commit is then signed only by the keys given here',
    );
  }
  return names;
}

function detachedOf(bytes: Uint8Array | undefined, checksum: string): Vardict {
  return bytes === undefined ? new Map() : parseCommitMeta(bytes, `detached metadata of commit ${checksum}`);
}

/** Writes the commit anew with the digest and the floor, signed, and moves the branch to it. */
function rewrite(subject: Subject, digest: Uint8Array, resign: boolean): Sealed {
  const { repo, store, ref, secrets } = subject;
  const commit = encodeCommit(withSeal(subject.commit, digest, subject.floor));
  const checksum = hex(nodeHasher.sha256(commit));
  let dropped: string[] = [];
  let signatures: SealResult['signatures'] = [];
  repo.replaceCommit({
    ref,
    expected: subject.checksum,
    commit,
    checksum,
    detached: (current) => {
      dropped = requireNothingDropped(store, ref, subject.checksum, resign);
      const carried = detachedOf(store.commitMeta(subject.checksum), subject.checksum);
      const metadata = withUnsignedEntries(detachedOf(current, checksum), carried);
      const signed = signCommit(commit, checksum, metadata, secrets);
      signatures = signed.signatures;
      return signed.bytes;
    },
  });
  return { commit: checksum, replaced: subject.checksum, signatures, dropped };
}

/** Adds the signatures to a commit that has the right digest. */
function addSignatures({ repo, checksum, bytes, secrets }: Subject): Sealed {
  let signatures: SealResult['signatures'] = [];
  repo.updateDetachedMetadata(checksum, (current) => {
    const signed = signCommit(bytes, checksum, detachedOf(current, checksum), secrets);
    signatures = signed.signatures;
    return signatures.some(({ added }) => added) ? signed.bytes : undefined;
  });
  return { commit: checksum, signatures, dropped: [] };
}

/** The detached metadata with the signatures of all keys, and the boot's verdict on them under each key. */
function signCommit(
  commit: Uint8Array,
  checksum: string,
  metadata: Vardict,
  secrets: readonly SecretKey[],
): { bytes: Uint8Array; signatures: SealResult['signatures'] } {
  const made = secrets.map((secret) => ({ secret, signature: sign(secret, commit) }));
  const merged = withSignatures(
    metadata,
    made.map(({ signature }) => signature),
    `commit ${checksum}`,
  );
  const bytes = encodeCommitMeta(merged.metadata);
  for (const { publicKey } of secrets) {
    const keys = [{ bytes: publicKey, line: 1 }];
    decide({ commit, checksum, commitmeta: bytes, keys, hasher: nodeHasher });
  }
  const signatures = made.map(({ secret, signature }) => ({
    publicKey: base64(secret.publicKey),
    added: merged.added.includes(signature),
  }));
  return { bytes, signatures };
}

/**
 * THE decision. From a commit's bytes, its detached metadata and the trusted public keys it derives the composefs
 * digest that may be mounted, or it throws. `sealroot verify`, the deployment and the initramfs call this one
 * function on the same bytes, so that they cannot disagree.
 *
 * The rule: one valid ed25519 signature over the commit's bytes by any one trusted key (the threshold
 * stands in `findSigner`), and what the policy demands of a signed commit besides. Malformed keys and signature
 * entries are skipped with a warning and never hide a good one.
 * Verify, then parse: of what is not yet verified only the detached metadata is decoded, since the signatures are
 * in there; the commit is opened after its signature held.
 */

import { equalBytes, includesBytes } from './bytes.ts';
import { decodePublicKey, ED25519_SIGNATURE_BYTES, type VerifyingKey, verifyWithKey } from './ed25519.ts';
import { ascii, type ByteString, fromByteString, hex, printable } from './encoding.ts';
import { refused, SealrootError } from './errors.ts';
import { openVariant, type Vardict } from './gvariant.ts';
import type { Hasher } from './hasher.ts';
import type { PublicKey } from './keys.ts';
import {
  COMPOSEFS_DIGEST_KEY,
  type Commit,
  ED25519_SIGNATURES_KEY,
  MAX_COMMIT_BYTES,
  parseCommit,
  parseCommitMeta,
} from './ostree-objects.ts';

/**
 * Signature entries of one commit. Detached metadata is not signed: without a bound whoever writes the disk could
 * keep the boot busy for hours.
 */
export const MAX_SIGNATURES = 64;

const DIGEST_BYTES = 32;

/** In a commit's metadata, `as`: the refs that it was made for; `ostree commit` writes it. */
const REF_BINDING_KEY = ascii('ostree.ref-binding');

/**
 * In a commit's metadata, `t`, seconds since 1970, as `ostree commit --add-metadata='sealroot.floor=uint64 N'` writes
 * it: while this commit is deployed, no commit that is older boots.
 */
export const FLOOR_KEY: ByteString = ascii('sealroot.floor');
const FLOOR_KEY_BYTES = fromByteString(FLOOR_KEY);

/** What is asked of a commit beyond a signature and a digest. Nothing in it loosens the rule. */
export interface Demands {
  /** The commit must be bound to one of these; empty: to none. */
  readonly refs: readonly ByteString[];
  /** Seconds since 1970; the commit's own timestamp must not be less. */
  readonly minTimestamp: bigint;
  readonly keyLimits: readonly KeyLimit[];
  readonly revoked: readonly PublicKey[];
}

/** A key that counts only for commits with a timestamp up to this. No clock is asked. */
export interface KeyLimit {
  readonly key: Uint8Array;
  readonly notAfter: bigint;
}

export const NO_DEMANDS: Demands = { refs: [], minTimestamp: 0n, keyLimits: [], revoked: [] };

export interface VerdictInput {
  readonly commit: Uint8Array;
  /** The commit's name as the deployment gives it: 64 hex digits. */
  readonly checksum: string;
  /** undefined: there is no such file. */
  readonly commitmeta: Uint8Array | undefined;
  readonly keys: readonly PublicKey[];
  readonly demands?: Demands;
  readonly hasher: Hasher;
  /** For whoever judges many commits; all of them share it. */
  readonly budget?: VerdictBudget;
}

export interface VerdictBudget {
  /** How often a signature may still be tried under a key: a few milliseconds each. */
  trialsLeft: number;
}

export interface Verdict {
  /** The verified commit. */
  readonly commit: Commit;
  readonly checksum: string;
  /** fs-verity SHA-256 digest of the one image that may be mounted. */
  readonly digest: Uint8Array;
  /** The key whose signature held. */
  readonly key: PublicKey;
  /** What was skipped on the way. */
  readonly warnings: readonly string[];
}

interface UsableKey extends PublicKey {
  readonly key: VerifyingKey;
}

/**
 * Throws `refused` with the code keys-missing, file-too-large, commit-checksum-mismatch, commitmeta-missing,
 * commitmeta-malformed, signatures-missing, signatures-too-many, signature-none-valid, key-revoked, commit-malformed,
 * key-expired, ref-not-allowed, commit-below-floor, digest-missing or digest-malformed, whichever comes first in this
 * order.
 */
export function decide(input: VerdictInput): Verdict {
  const warnings: string[] = [];
  const keys = usableKeys(input.keys, warnings);
  const what = `commit ${printable(input.checksum)}`;
  checkCommitBytes(input, what);
  const signatures = readSignatures(input.commitmeta, what, warnings);
  const { commit, key } = findSigner(input, keys, signatures, what);
  const { refs, minTimestamp } = input.demands ?? NO_DEMANDS;
  checkRefs(commit, refs, what);
  const verdict = { commit, checksum: input.checksum, key, warnings };
  requireNotBelow(verdict, { timestamp: minTimestamp, source: 'min-timestamp of the policy' });
  return { ...verdict, digest: readDigest(commit.metadata, what) };
}

/** A point in time before which no commit boots, and who says so. */
export interface Floor {
  /** Seconds since 1970. */
  readonly timestamp: bigint;
  readonly source: string;
}

/**
 * The highest floor that a commit among `others` sets, if any does: of those that `read` can read and that pass the
 * verdict. One that does not has no say, and one that cannot have a floor is not even verified, which is most of the
 * cost.
 */
export function highestFloor(
  others: Iterable<string>,
  read: (checksum: string) => VerdictInput,
): Floor | undefined {
  let highest: Floor | undefined;
  for (const checksum of others) {
    try {
      const input = read(checksum);
      if (!includesBytes(input.commit, FLOOR_KEY_BYTES)) continue;
      highest = higherFloor(highest, floorOf(decide(input)));
    } catch (error) {
      if (!(error instanceof SealrootError)) throw error;
    }
  }
  return highest;
}

/** Of two equal ones the first. */
export function higherFloor(a: Floor | undefined, b: Floor | undefined): Floor | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return b.timestamp > a.timestamp ? b : a;
}

/** The floor that a verified commit sets. Throws `commit-malformed`. */
export function floorOf({ commit, checksum }: Pick<Verdict, 'commit' | 'checksum'>): Floor | undefined {
  const timestamp = readFloor(commit.metadata, `commit ${checksum}`);
  return timestamp === undefined ? undefined : { timestamp, source: `${FLOOR_KEY} of commit ${checksum}` };
}

/** The value of `sealroot.floor`. Throws `commit-malformed`. */
export function readFloor(metadata: Vardict, what: string): bigint | undefined {
  const value = metadata.get(FLOOR_KEY);
  if (value === undefined) return undefined;
  return asRefusal('commit-malformed', () => openVariant(value, 't', `${FLOOR_KEY} of ${what}`));
}

/** Throws `commit-below-floor` for a commit that is older. */
export function requireNotBelow(verdict: Pick<Verdict, 'commit' | 'checksum'>, floor: Floor): void {
  const { timestamp } = verdict.commit;
  if (timestamp >= floor.timestamp) return;
  throw refused(
    'commit-below-floor',
    `cannot use commit ${printable(verdict.checksum)}: its timestamp is ${timestamp}, the ${floor.source} is ${floor.timestamp}`,
  );
}

function checkRefs({ metadata }: Commit, allowed: readonly ByteString[], what: string): void {
  if (allowed.length === 0) return;
  const value = metadata.get(REF_BINDING_KEY);
  const bound =
    value === undefined
      ? []
      : asRefusal('commit-malformed', () => openVariant(value, 'as', `${REF_BINDING_KEY} of ${what}`));
  if (bound.some((ref) => allowed.includes(ref))) return;
  const list = (refs: readonly ByteString[]) => refs.map(printable).join(';') || 'none';
  throw refused(
    'ref-not-allowed',
    `cannot use ${what}: it is bound to the refs ${list(bound)}, the policy wants one of ${list(allowed)}`,
  );
}

/** The composefs digest that a commit's metadata names. Throws `digest-missing` or `digest-malformed`. */
export function readDigest(metadata: Vardict, what: string): Uint8Array {
  const value = metadata.get(COMPOSEFS_DIGEST_KEY);
  if (value === undefined) {
    throw refused('digest-missing', `cannot use ${what}: its metadata has no ${COMPOSEFS_DIGEST_KEY}`);
  }
  const digest = asRefusal('digest-malformed', () =>
    openVariant(value, 'ay', `${COMPOSEFS_DIGEST_KEY} of ${what}`),
  );
  if (digest.length !== DIGEST_BYTES) {
    throw refused(
      'digest-malformed',
      `cannot use ${what}: its ${COMPOSEFS_DIGEST_KEY} has ${digest.length} bytes, expected ${DIGEST_BYTES}`,
    );
  }
  return digest;
}

/** Throws `keys-missing` unless there is a key that could verify anything. */
export function requireUsableKey(keys: readonly PublicKey[]): void {
  usableKeys(keys, []);
}

function usableKeys(keys: readonly PublicKey[], warnings: string[]): UsableKey[] {
  const usable: UsableKey[] = [];
  for (const { bytes, line } of keys) {
    const key = decodePublicKey(bytes);
    if (key !== undefined) usable.push({ bytes, line, key });
    else warnings.push(`cannot use public key in line ${line}: not a valid ed25519 point`);
  }
  if (usable.length === 0) {
    throw refused('keys-missing', `cannot verify any commit: none of ${keys.length} public keys is usable`);
  }
  return usable;
}

function checkCommitBytes({ commit, checksum, hasher }: VerdictInput, what: string): void {
  checkSize(commit, what);
  const actual = hex(hasher.sha256(commit));
  if (actual !== checksum) {
    throw refused('commit-checksum-mismatch', `cannot verify ${what}: the SHA-256 of its bytes is ${actual}`);
  }
}

function checkSize(bytes: Uint8Array, what: string): void {
  if (bytes.length <= MAX_COMMIT_BYTES) return;
  throw refused('file-too-large', `cannot read ${what}: ${bytes.length} bytes, at most ${MAX_COMMIT_BYTES}`);
}

/** The entries of the right length. */
function readSignatures(commitmeta: Uint8Array | undefined, what: string, warnings: string[]): Uint8Array[] {
  if (commitmeta === undefined) {
    throw refused('commitmeta-missing', `cannot verify ${what}: it has no detached metadata`);
  }
  checkSize(commitmeta, `detached metadata of ${what}`);
  const entries = asRefusal('commitmeta-malformed', () => {
    const value = parseCommitMeta(commitmeta).get(ED25519_SIGNATURES_KEY);
    return value === undefined ? [] : openVariant(value, 'aay', `${ED25519_SIGNATURES_KEY} of ${what}`);
  });
  if (entries.length === 0) {
    throw refused('signatures-missing', `cannot verify ${what}: it has no ed25519 signature`);
  }
  if (entries.length > MAX_SIGNATURES) {
    throw refused(
      'signatures-too-many',
      `cannot verify ${what}: ${entries.length} signature entries, at most ${MAX_SIGNATURES}`,
    );
  }
  return entries.filter((entry, index) => {
    if (entry.length === ED25519_SIGNATURE_BYTES) return true;
    const size = `${entry.length} bytes, expected ${ED25519_SIGNATURE_BYTES}`;
    warnings.push(`cannot use signature ${index + 1} of ${entries.length}: ${size}`);
    return false;
  });
}

/**
 * The threshold: the first key, in their order, under which any one signature holds, and that is neither revoked nor
 * out of its time. The commit is parsed here, since only it knows its time, and only after a signature held.
 */
function findSigner(
  input: VerdictInput,
  keys: readonly UsableKey[],
  signatures: readonly Uint8Array[],
  what: string,
): { commit: Commit; key: PublicKey } {
  const { revoked, keyLimits } = input.demands ?? NO_DEMANDS;
  const isRevoked = (key: UsableKey) => revoked.some(({ bytes }) => equalBytes(bytes, key.bytes));
  const holds = ({ key }: UsableKey) =>
    signatures.some((signature) => {
      if (input.budget !== undefined && input.budget.trialsLeft-- <= 0) throw tooManyTrials(what);
      return verifyWithKey(key, input.commit, signature, input.hasher);
    });
  let expired: SealrootError | undefined;
  for (const candidate of keys) {
    if (isRevoked(candidate) || !holds(candidate)) continue;
    const { bytes, line } = candidate;
    const commit = asRefusal('commit-malformed', () => parseCommit(input.commit));
    const limit = keyLimits.find(
      ({ key, notAfter }) => equalBytes(key, bytes) && notAfter < commit.timestamp,
    );
    if (limit === undefined) return { commit, key: { bytes, line } };
    expired ??= refused(
      'key-expired',
      `cannot verify ${what}: its timestamp is ${commit.timestamp}, the key in line ${line} counts until ${limit.notAfter}`,
    );
  }
  if (expired !== undefined) throw expired;
  const former = keys.find((key) => isRevoked(key) && holds(key));
  if (former !== undefined) {
    throw refused(
      'key-revoked',
      `cannot verify ${what}: the key in line ${former.line}, which signed it, is revoked`,
    );
  }
  throw refused(
    'signature-none-valid',
    `cannot verify ${what}: none of ${signatures.length} signatures holds under any of ${keys.length} keys`,
  );
}

function tooManyTrials(what: string): SealrootError {
  const fact = 'those of the commits before it and its own are more signatures than may be tried';
  return refused('signatures-too-many', `cannot verify ${what}: ${fact}`);
}

/** What is malformed is refused here, under the verdict's own code; anything else passes through. */
function asRefusal<T>(code: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof SealrootError && error.kind === 'input')
      throw refused(code, error.message, error.hint);
    throw error;
  }
}

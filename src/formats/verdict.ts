/**
 * THE decision. From a commit's bytes, its detached metadata and the trusted public keys it derives the composefs
 * digest that may be mounted, or it throws. `sealroot verify`, the deployment and the initramfs call this one
 * function on the same bytes, so that they cannot disagree.
 *
 * The rule: one valid ed25519 signature over the commit's bytes by any one trusted key (the threshold
 * stands in `findSigner`). Malformed keys and signature entries are skipped with a warning and never hide a good one.
 * Verify, then parse: of what is not yet verified only the detached metadata is decoded, since the signatures are
 * in there; the commit is opened after its signature held.
 */

import { decodePublicKey, ED25519_SIGNATURE_BYTES, type VerifyingKey, verifyWithKey } from './ed25519.ts';
import { hex, printable } from './encoding.ts';
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

export interface VerdictInput {
  readonly commit: Uint8Array;
  /** The commit's name as the deployment gives it: 64 hex digits. */
  readonly checksum: string;
  /** undefined: there is no such file. */
  readonly commitmeta: Uint8Array | undefined;
  readonly keys: readonly PublicKey[];
  readonly hasher: Hasher;
}

export interface Verdict {
  /** The verified commit. */
  readonly commit: Commit;
  readonly checksum: string;
  /** fs-verity SHA-256 digest of the one image that may be mounted. */
  readonly digest: Uint8Array;
  /** The line of the key whose signature held. */
  readonly keyLine: number;
  /** What was skipped on the way. */
  readonly warnings: readonly string[];
}

interface UsableKey {
  readonly line: number;
  readonly key: VerifyingKey;
}

/**
 * Throws `refused` with the code keys-missing, file-too-large, commit-checksum-mismatch, commitmeta-missing,
 * commitmeta-malformed, signatures-missing, signatures-too-many, signature-none-valid, commit-malformed,
 * digest-missing or digest-malformed, whichever comes first in this order.
 */
export function decide(input: VerdictInput): Verdict {
  const warnings: string[] = [];
  const keys = usableKeys(input.keys, warnings);
  const what = `commit ${printable(input.checksum)}`;
  checkCommitBytes(input, what);
  const signatures = readSignatures(input.commitmeta, what, warnings);
  const signer = findSigner(input, keys, signatures);
  if (signer === undefined) {
    throw refused(
      'signature-none-valid',
      `cannot verify ${what}: none of ${signatures.length} signatures holds under any of ${keys.length} keys`,
      'sign the commit with a key whose public half is in the initramfs',
    );
  }
  const commit = asRefusal('commit-malformed', () => parseCommit(input.commit));
  const digest = readDigest(commit.metadata, what);
  return { commit, checksum: input.checksum, digest, keyLine: signer.line, warnings };
}

/** The composefs digest that a commit's metadata names. Throws `digest-missing` or `digest-malformed`. */
export function readDigest(metadata: Vardict, what: string): Uint8Array {
  const value = metadata.get(COMPOSEFS_DIGEST_KEY);
  if (value === undefined) {
    throw refused(
      'digest-missing',
      `cannot use ${what}: its metadata has no ${COMPOSEFS_DIGEST_KEY}`,
      'seal it with sealroot seal',
    );
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

function usableKeys(keys: readonly PublicKey[], warnings: string[]): UsableKey[] {
  const usable: UsableKey[] = [];
  for (const { bytes, line } of keys) {
    const key = decodePublicKey(bytes);
    if (key !== undefined) usable.push({ line, key });
    else warnings.push(`cannot use public key in line ${line}: not a valid ed25519 point`);
  }
  if (usable.length === 0) {
    throw refused(
      'keys-missing',
      `cannot verify any commit: none of ${keys.length} public keys is usable`,
      'put the public key of the signer into the key file',
    );
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
    throw refused('commitmeta-missing', `cannot verify ${what}: it has no detached metadata`, SIGN_HINT);
  }
  checkSize(commitmeta, `detached metadata of ${what}`);
  const entries = asRefusal('commitmeta-malformed', () => {
    const value = parseCommitMeta(commitmeta).get(ED25519_SIGNATURES_KEY);
    return value === undefined ? [] : openVariant(value, 'aay', `${ED25519_SIGNATURES_KEY} of ${what}`);
  });
  if (entries.length === 0) {
    throw refused('signatures-missing', `cannot verify ${what}: it has no ed25519 signature`, SIGN_HINT);
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

const SIGN_HINT = 'sign it with sealroot seal or ostree sign, and pull its detached metadata too';

/** The threshold: the first key, in their order, under which any one signature holds. */
function findSigner(
  input: VerdictInput,
  keys: readonly UsableKey[],
  signatures: readonly Uint8Array[],
): UsableKey | undefined {
  return keys.find(({ key }) =>
    signatures.some((signature) => verifyWithKey(key, input.commit, signature, input.hasher)),
  );
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

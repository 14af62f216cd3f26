/**
 * What sealing changes in a commit and in its detached metadata, as pure functions. Entries that are not ours keep
 * their place and their bytes.
 */

import { equalBytes } from './bytes.ts';
import { type ByteString, hex, printable } from './encoding.ts';
import { badInput, refused } from './errors.ts';
import { makeVariant, openVariant, type Vardict, type VariantValue } from './gvariant.ts';
import { COMPOSEFS_DIGEST_KEY, type Commit, ED25519_SIGNATURES_KEY } from './ostree-objects.ts';
import { FLOOR_KEY, readDigest } from './verdict.ts';

/** libostree's OstreeSign engines keep theirs under this prefix; GPG came before them (ostree-repo-private.h). */
const SIGN_PREFIX = 'ostree.sign.';
const GPG_SIGNATURES_KEY = 'ostree.gpgsigs';

/** The digest that a commit names, or undefined when it names none. Throws `digest-malformed`. */
export function statedDigest(commit: Commit, what: string): Uint8Array | undefined {
  return commit.metadata.has(COMPOSEFS_DIGEST_KEY) ? readDigest(commit.metadata, what) : undefined;
}

/** The same commit with the digest in its metadata, and the floor if there is one; as the last entries if they are new. */
export function withSeal(commit: Commit, digest: Uint8Array, floor?: bigint): Commit {
  const metadata = new Map(commit.metadata);
  metadata.set(COMPOSEFS_DIGEST_KEY, makeVariant('ay', digest));
  if (floor !== undefined) metadata.set(FLOOR_KEY, makeVariant('t', floor));
  return { ...commit, metadata };
}

function isSignatureKey(key: ByteString): boolean {
  return key.startsWith(SIGN_PREFIX) || key === GPG_SIGNATURES_KEY;
}

/** The signatures that detached metadata hold, by key and number: `ostree.gpgsigs (1)`. */
export function signatureNames(metadata: Vardict): string[] {
  const names: string[] = [];
  for (const [key, value] of metadata) {
    if (isSignatureKey(key)) names.push(`${printable(key)} (${countOf(value)})`);
  }
  return names;
}

function countOf(value: VariantValue): string {
  return value.type === 'aay' ? String(openVariant(value, 'aay', 'signatures').length) : 'unreadable';
}

/** `base`, then those entries of `other` that `base` lacks and that sign nothing. */
export function withUnsignedEntries(base: Vardict, other: Vardict): Vardict {
  const merged = new Map(base);
  for (const [key, value] of other) {
    if (!isSignatureKey(key) && !merged.has(key)) merged.set(key, value);
  }
  return merged;
}

export interface MergedSignatures {
  readonly metadata: Vardict;
  /** The signatures that were not there before. */
  readonly added: readonly Uint8Array[];
}

/**
 * Adds ed25519 signatures; those already there keep their order, and none is added twice. Entries that are no
 * signatures are kept: another reader may know what they are.
 */
export function withSignatures(
  metadata: Vardict,
  signatures: readonly Uint8Array[],
  what: string,
): MergedSignatures {
  const entry = metadata.get(ED25519_SIGNATURES_KEY);
  if (entry !== undefined && entry.type !== 'aay') {
    throw badInput(
      'commitmeta-malformed',
      `cannot add a signature to ${what}: its ${ED25519_SIGNATURES_KEY} is of type "${printable(entry.type)}", expected "aay"`,
    );
  }
  const all: Uint8Array[] = [];
  if (entry !== undefined) all.push(...openVariant(entry, 'aay', `signatures of ${what}`));
  const added: Uint8Array[] = [];
  for (const signature of signatures) {
    if (all.some((present) => equalBytes(present, signature))) continue;
    all.push(signature);
    added.push(signature);
  }
  const merged = new Map(metadata);
  merged.set(ED25519_SIGNATURES_KEY, makeVariant('aay', all));
  return { metadata: merged, added };
}

/** Throws `digest-mismatch`, naming both, unless the image that was computed is the one the commit names. */
export function requireSameDigest(
  what: string,
  stated: Uint8Array,
  computed: Uint8Array,
  verb: string,
): void {
  if (equalBytes(stated, computed)) return;
  throw refused(
    'digest-mismatch',
    `cannot ${verb} ${what}: it names the image digest ${hex(stated)}, but its objects make ${hex(computed)}`,
    'the commit was made for another image format, or its objects are damaged: run ostree fsck, or commit the tree again without the digest',
  );
}

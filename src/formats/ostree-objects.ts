/**
 * The two ostree objects that the verdict reads: the commit, `(a{sv}aya(say)sstayay)`, and its detached metadata,
 * `a{sv}` (libostree's ostree-core.h, OSTREE_COMMIT_GVARIANT_FORMAT and OstreeObjectType). Both in normal form only.
 * Runs in the initramfs; what only the build side and the deploy read stands in ostree-tree-objects.ts.
 */

import { ascii, type ByteString, hex, parseHex } from './encoding.ts';
import { badInput } from './errors.ts';
import { decode, encode, type Vardict } from './gvariant.ts';

/** In a commit's metadata, `ay`, 32 bytes: the fs-verity digest of the commit's composefs image. */
export const COMPOSEFS_DIGEST_KEY: ByteString = ascii('ostree.composefs.digest.v0');
/** In detached metadata, `aay`: ed25519 signatures over the commit object's bytes. */
export const ED25519_SIGNATURES_KEY: ByteString = ascii('ostree.sign.ed25519');

/** libostree's limit for a metadata object is 128 MiB; the initramfs takes 16 MiB, and so does everything else here. */
export const MAX_COMMIT_BYTES = 16 * 1024 * 1024;

const COMMIT_TYPE = '(a{sv}aya(say)sstayay)';
export const CHECKSUM_BYTES = 32;

export interface Commit {
  readonly metadata: Vardict;
  /** Checksum of the parent commit. */
  readonly parent?: string;
  /** Unused by libostree, kept so that a commit can be written back. */
  readonly related: readonly { readonly name: ByteString; readonly checksum: string }[];
  readonly subject: ByteString;
  readonly body: ByteString;
  /** Seconds since 1970. */
  readonly timestamp: bigint;
  /** Checksum of the root's dirtree object. */
  readonly rootTree: string;
  /** Checksum of the root's dirmeta object. */
  readonly rootMeta: string;
}

/** Throws `gvariant-malformed` or `commit-malformed`. Law: `encodeCommit(parseCommit(b))` equals b. */
export function parseCommit(bytes: Uint8Array, what = 'commit'): Commit {
  requireSize(bytes, what);
  const [metadata, parent, related, subject, body, timestamp, rootTree, rootMeta] = decode(
    COMMIT_TYPE,
    bytes,
    what,
  );
  return {
    metadata,
    ...(parent.length > 0 && { parent: checksum(parent, what, 'parent') }),
    related: related.map(([name, sum]) => ({ name, checksum: checksum(sum, what, 'related object') })),
    subject,
    body,
    timestamp: swapped(timestamp),
    rootTree: checksum(rootTree, what, 'root dirtree'),
    rootMeta: checksum(rootMeta, what, 'root dirmeta'),
  };
}

/** The commit object's bytes; their SHA-256 is the commit's checksum. */
export function encodeCommit(commit: Commit): Uint8Array {
  return encode(COMMIT_TYPE, [
    commit.metadata,
    commit.parent === undefined ? new Uint8Array(0) : parseHex(commit.parent, 'parent'),
    commit.related.map(({ name, checksum }) => [name, parseHex(checksum, 'related object')] as const),
    commit.subject,
    commit.body,
    swapped(commit.timestamp),
    parseHex(commit.rootTree, 'root dirtree'),
    parseHex(commit.rootMeta, 'root dirmeta'),
  ]);
}

/** Detached metadata. Nobody vouches for it: it is read before any signature is verified. */
export function parseCommitMeta(bytes: Uint8Array, what = 'detached metadata'): Vardict {
  requireSize(bytes, what);
  return decode('a{sv}', bytes, what);
}

export function encodeCommitMeta(metadata: Vardict): Uint8Array {
  return encode('a{sv}', metadata);
}

function requireSize(bytes: Uint8Array, what: string): void {
  if (bytes.length > MAX_COMMIT_BYTES) {
    throw badInput('file-too-large', `cannot read ${what}: more than ${MAX_COMMIT_BYTES} bytes`);
  }
}

/** The hex form of an object's checksum that stands in another object, which `what` and `field` name. */
export function checksum(found: Uint8Array, what: string, field: string): string {
  if (found.length === CHECKSUM_BYTES) return hex(found);
  throw badInput(
    'checksum-malformed',
    `cannot read ${what}: its ${field} checksum has ${found.length} bytes, expected ${CHECKSUM_BYTES}`,
  );
}

/** ostree stores integers big endian inside the little endian serialisation. */
export function swapped(value: bigint): bigint {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, value, true);
  return view.getBigUint64(0, false);
}

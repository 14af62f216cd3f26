/**
 * The xattrs that overlayfs reads on a file whose bytes are in a backing file: its digest and its path. Most inodes
 * have them, and hardly two have the same: only values that may stand twice become entries of the pool, all others are
 * written from the node.
 */

import type { ByteString } from './encoding.ts';
import { MAX_SHARED_REFS, XATTR_HEADER_SIZE, XATTR_REF_SIZE } from './erofs-layout.ts';
import type { Inode } from './erofs-plan.ts';
import {
  byName,
  entrySize,
  writeEntry,
  writeReference,
  writeXattrArea,
  type XattrEntry,
  type XattrNameInfo,
  type XattrPool,
  xattrAreaSize,
} from './erofs-xattrs.ts';
import * as overlay from './overlay.ts';

export class BackingXattrs {
  readonly #pool: XattrPool;
  readonly #noDigest: XattrNameInfo;
  readonly #redirect: XattrNameInfo;
  /** Of both names. */
  readonly #filterBits: number;
  /** By the length of the digest. */
  readonly #digests: ReadonlyMap<number, XattrNameInfo>;

  constructor(pool: XattrPool) {
    this.#pool = pool;
    this.#noDigest = pool.name(overlay.METACOPY);
    this.#redirect = pool.name(overlay.REDIRECT, overlay.REDIRECT_LEAD);
    this.#filterBits = this.#noDigest.filterBit | this.#redirect.filterBit;
    this.#digests = new Map(
      overlay.METACOPY_HEADERS.map(([bytes, header]) => [bytes, pool.name(overlay.METACOPY, header)]),
    );
  }

  /** To be called once, with all files that will be asked for: finds the values that several of them have. */
  share(files: readonly Inode[]): void {
    const digests = new Candidates(files.length);
    const payloads = new Candidates(files.length);
    for (let i = 0; i < files.length; i++) {
      const inode = files[i] as Inode;
      const { digest, payload } = inode.node;
      // Without a digest overlayfs has nothing to verify.
      if (digest === undefined) inode.metacopy = this.#pool.use(this.#noDigest, overlay.EMPTY);
      else digests.add(firstBits(digest), i);
      if (payload) payloads.add(pathHash(payload), i);
    }
    for (const i of digests.repeated()) {
      const inode = files[i] as Inode;
      const digest = inode.node.digest as ByteString;
      inode.metacopy = this.#pool.use(this.#nameOf(digest), digest);
    }
    for (const i of payloads.repeated()) {
      const inode = files[i] as Inode;
      inode.redirect = this.#pool.use(this.#redirect, inode.node.payload as ByteString);
    }
  }

  /** As xattrAreaSize(), of such a file with all that it has. */
  areaSize(inode: Inode): number {
    const { xattrs, metacopy, redirect, node } = inode;
    if (!standBefore(xattrs)) return xattrAreaSize(this.#allOf(inode));
    let size = XATTR_HEADER_SIZE;
    if (xattrs.length > 0) size = xattrAreaSize(xattrs);
    if (isShared(metacopy)) size += XATTR_REF_SIZE;
    else size += this.#digestSize(inode);
    if (isShared(redirect)) size += XATTR_REF_SIZE;
    else if (node.payload) size += entrySize(this.#redirect, node.payload);
    return size;
  }

  /** As writeXattrArea(). */
  writeArea(out: Uint8Array, words: Int32Array, start: number, inode: Inode, sharedBase: number): void {
    const { xattrs, metacopy, redirect, node } = inode;
    if (!standBefore(xattrs)) {
      writeXattrArea(out, words, start, this.#allOf(inode), sharedBase);
      return;
    }
    let filter = node.payload ? this.#filterBits : this.#noDigest.filterBit;
    let at = start + XATTR_HEADER_SIZE;
    for (const entry of xattrs) {
      filter |= entry.name.filterBit;
      if (entry.uses > 1) at = writeReference(words, at, entry, sharedBase);
    }
    if (isShared(metacopy)) at = writeReference(words, at, metacopy, sharedBase);
    if (isShared(redirect)) at = writeReference(words, at, redirect, sharedBase);
    words[start / 4] = ~filter;
    out[start + 4] = (at - start - XATTR_HEADER_SIZE) / XATTR_REF_SIZE;
    for (const entry of xattrs) if (entry.uses === 1) at = writeEntry(out, at, entry.name, entry.value);
    if (!isShared(metacopy)) at = this.#writeDigest(out, at, inode);
    if (node.payload && !isShared(redirect)) writeEntry(out, at, this.#redirect, node.payload);
  }

  #digestSize({ node: { digest } }: Inode): number {
    return digest === undefined
      ? entrySize(this.#noDigest, overlay.EMPTY)
      : entrySize(this.#nameOf(digest), digest);
  }

  #writeDigest(out: Uint8Array, at: number, { node: { digest } }: Inode): number {
    return digest === undefined
      ? writeEntry(out, at, this.#noDigest, overlay.EMPTY)
      : writeEntry(out, at, this.#nameOf(digest), digest);
  }

  /** In name order, for what comes seldom. */
  #allOf({ xattrs, metacopy, redirect, node }: Inode): XattrEntry[] {
    const { digest, payload } = node;
    const all = [...xattrs];
    if (metacopy !== undefined) all.push(metacopy);
    else if (digest !== undefined) all.push(ownEntry(this.#nameOf(digest), digest));
    if (payload) all.push(redirect ?? ownEntry(this.#redirect, payload));
    return all.sort(byName);
  }

  #nameOf({ length }: ByteString): XattrNameInfo {
    return this.#digests.get(length) ?? this.#noDigest;
  }
}

function ownEntry(name: XattrNameInfo, value: ByteString): XattrEntry {
  return { name, value, uses: 1, sharedOffset: 0 };
}

function isShared(entry: XattrEntry | undefined): entry is XattrEntry {
  return entry !== undefined && entry.uses > 1;
}

/** Whether all of these come before those of overlayfs, and leave references for them; mostly there is none, or a label. */
function standBefore(xattrs: readonly XattrEntry[]): boolean {
  const last = xattrs[xattrs.length - 1];
  return last === undefined || (last.name.key < overlay.METACOPY && xattrs.length <= MAX_SHARED_REFS - 2);
}

const HASH_BITS = 28;
/** What is left of the 53 bits of a number: for more files than any image has. */
const INDEX_FACTOR = 2 ** (53 - HASH_BITS);

/** Numbers with a hash each, sorted to find the hashes that stand twice: a Map of as many strings takes five times as long. */
class Candidates {
  readonly #keys: Float64Array;
  #count = 0;

  constructor(max: number) {
    this.#keys = new Float64Array(max);
  }

  /** `hash` has 28 bits. */
  add(hash: number, number: number): void {
    this.#keys[this.#count] = hash * INDEX_FACTOR + number;
    this.#count++;
  }

  /** The numbers whose hash some other one has. */
  repeated(): number[] {
    const keys = this.#keys.subarray(0, this.#count).sort();
    const found: number[] = [];
    let hash = -1;
    let first = 0;
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i] as number;
      const next = Math.floor(key / INDEX_FACTOR);
      if (next !== hash) {
        hash = next;
        first = i;
        continue;
      }
      if (i === first + 1) found.push((keys[first] as number) - hash * INDEX_FACTOR);
      found.push(key - hash * INDEX_FACTOR);
    }
    return found;
  }
}

/** As good as random. */
function firstBits(digest: ByteString): number {
  return (
    digest.charCodeAt(0) |
    (digest.charCodeAt(1) << 8) |
    (digest.charCodeAt(2) << 16) |
    ((digest.charCodeAt(3) & 15) << 24)
  );
}

/** Of the name of an object, which ends in hex digits and ".file", eight digits are as good as random. */
function pathHash(path: ByteString): number {
  const digits = Number(`0x${path.slice(-13, -5)}`);
  return digits >= 0 ? digits >>> (32 - HASH_BITS) : sampledHash(path);
}

/** Of some eight characters. */
function sampledHash(text: ByteString): number {
  const step = (text.length >> 3) | 1;
  let hash = text.length;
  for (let i = text.length - 1; i >= 0; i -= step) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return (hash ^ (hash >>> 15)) >>> (32 - HASH_BITS);
}

/**
 * The xattrs that overlayfs reads on a file whose bytes are in a backing file: its digest and its path. Most inodes
 * have them, and hardly two have the same: only values that may stand twice become entries of the pool, all others are
 * written from the node.
 */

import { type ByteString, toByteString } from './encoding.ts';
import type { Inode } from './erofs-plan.ts';
import { byName, type XattrEntry, type XattrNameInfo, type XattrPool } from './erofs-xattrs.ts';
import * as overlay from './overlay.ts';

export class BackingXattrs {
  readonly #pool: XattrPool;
  readonly #noDigest: XattrNameInfo;
  readonly #redirect: XattrNameInfo;
  /** By the length of the digest. */
  readonly #digests: ReadonlyMap<number, XattrNameInfo>;
  // What `of` returns: made once and filled again for each inode.
  readonly #ownDigest: { -readonly [Field in keyof XattrEntry]: XattrEntry[Field] };
  readonly #ownRedirect: { -readonly [Field in keyof XattrEntry]: XattrEntry[Field] };
  readonly #one: XattrEntry[];
  readonly #both: XattrEntry[];

  constructor(pool: XattrPool) {
    this.#pool = pool;
    this.#noDigest = pool.name(overlay.METACOPY);
    this.#redirect = pool.name(overlay.REDIRECT, overlay.REDIRECT_LEAD);
    this.#digests = new Map(
      overlay.METACOPY_HEADERS.map(([bytes, header]) => [bytes, pool.name(overlay.METACOPY, header)]),
    );
    this.#ownDigest = { name: this.#noDigest, value: overlay.EMPTY, uses: 1, sharedOffset: 0 };
    this.#ownRedirect = { name: this.#redirect, value: overlay.EMPTY, uses: 1, sharedOffset: 0 };
    this.#one = [this.#ownDigest];
    this.#both = [this.#ownDigest, this.#ownRedirect];
  }

  /** To be called once, with all files that `of` will be asked for: finds the values that several of them have. */
  share(files: readonly Inode[]): void {
    const digests = new Candidates(files.length);
    const payloads = new Candidates(files.length);
    for (let i = 0; i < files.length; i++) {
      const inode = files[i] as Inode;
      const { digest, payload } = inode.node;
      // Without a digest overlayfs has nothing to verify.
      if (digest === undefined) inode.metacopy = this.#pool.use(this.#noDigest, overlay.EMPTY);
      else digests.add(firstBits(digest), i);
      if (payload) payloads.add(sampledHash(payload), i);
    }
    for (const i of digests.repeated()) {
      const inode = files[i] as Inode;
      const digest = inode.node.digest as Uint8Array;
      inode.metacopy = this.#pool.use(this.#nameOf(digest), toByteString(digest));
    }
    for (const i of payloads.repeated()) {
      const inode = files[i] as Inode;
      inode.redirect = this.#pool.use(this.#redirect, inode.node.payload as ByteString);
    }
  }

  /** All xattrs of such a file, in name order; until the next call. */
  of(inode: Inode): readonly XattrEntry[] {
    const { xattrs } = inode;
    const added = this.#added(inode);
    if (xattrs.length === 0) return added;
    const all = [...xattrs, ...added];
    return (xattrs[xattrs.length - 1] as XattrEntry).name.key < overlay.METACOPY ? all : all.sort(byName);
  }

  #added({ node, metacopy, redirect }: Inode): readonly XattrEntry[] {
    const { digest, payload } = node;
    if (metacopy === undefined && digest !== undefined) {
      this.#ownDigest.name = this.#nameOf(digest);
      this.#ownDigest.value = digest;
    }
    const list = payload ? this.#both : this.#one;
    list[0] = metacopy ?? this.#ownDigest;
    if (payload) {
      this.#ownRedirect.value = payload;
      list[1] = redirect ?? this.#ownRedirect;
    }
    return list;
  }

  #nameOf({ length }: Uint8Array): XattrNameInfo {
    return this.#digests.get(length) ?? this.#noDigest;
  }
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
function firstBits(digest: Uint8Array): number {
  return (
    (digest[0] as number) |
    ((digest[1] as number) << 8) |
    ((digest[2] as number) << 16) |
    (((digest[3] as number) & 15) << 24)
  );
}

/** Of some eight characters: of the name of an object those are as good as random. */
function sampledHash(text: ByteString): number {
  const step = (text.length >> 3) | 1;
  let hash = text.length;
  for (let i = text.length - 1; i >= 0; i -= step) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return (hash ^ (hash >>> 15)) >>> (32 - HASH_BITS);
}

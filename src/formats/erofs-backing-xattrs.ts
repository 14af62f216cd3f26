/**
 * The xattrs that overlayfs reads on a file whose bytes are in a backing file: its digest and its path. Most inodes
 * have them, and hardly two have the same: only values that may stand twice become entries of the pool, all others are
 * written from the node.
 */

import { type ByteString, putBytes } from './byte-strings.ts';
import { MAX_SHARED_REFS, XATTR_HEADER_SIZE, XATTR_REF_SIZE } from './erofs-layout.ts';
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
import type { TreeNode } from './tree.ts';

/** What an area has in common with those of other files: the same other xattrs, and values of the same lengths, not shared. */
interface Like {
  readonly xattrs: readonly XattrEntry[];
  readonly digestBytes: number;
  readonly pathBytes: number;
}

interface Sized extends Like {
  readonly size: number;
}

/** Nearly all files of an image are like the one before, so that only two values differ. */
interface Written extends Like {
  readonly area: Uint8Array;
  /** Where the values stand in it. */
  readonly digestAt: number;
  readonly pathAt: number;
}

const LIKE_NONE: Like = { xattrs: [], digestBytes: -1, pathBytes: -1 };

export class BackingXattrs {
  readonly #pool: XattrPool;
  readonly #noDigest: XattrNameInfo;
  readonly #redirect: XattrNameInfo;
  /** Of both names. */
  readonly #filterBits: number;
  /** By the length of the digest. */
  readonly #digests: readonly XattrNameInfo[];
  /** Entries of values that several may have: of each inode 1 + the place of its digest and of its path; 0 for its own. */
  readonly #entries: XattrEntry[] = [];
  readonly #metacopy: Uint32Array;
  readonly #path: Uint32Array;
  /** 0 of those that have none of these entries. */
  readonly #mayShare: Uint8Array;
  #sized: Sized = { ...LIKE_NONE, size: 0 };
  #written: Written = { ...LIKE_NONE, area: new Uint8Array(0), digestAt: 0, pathAt: 0 };
  /** The last list of other xattrs that was looked at: most nodes have the same as the one before. */
  #others: readonly XattrEntry[] = [];
  #othersStandBefore = true;
  #othersBytes = XATTR_HEADER_SIZE;

  /** By inode number: of all nodes that are external, values that several have are found. */
  constructor(
    pool: XattrPool,
    nodes: readonly TreeNode[],
    isExternal: Uint8Array,
    pathsHaveDigests: boolean,
  ) {
    this.#pool = pool;
    this.#noDigest = pool.name(overlay.METACOPY);
    this.#redirect = pool.name(overlay.REDIRECT, overlay.REDIRECT_LEAD);
    this.#filterBits = this.#noDigest.filterBit | this.#redirect.filterBit;
    const longest = Math.max(...overlay.METACOPY_HEADERS.map(([bytes]) => bytes));
    const digests = new Array<XattrNameInfo>(longest + 1).fill(this.#noDigest);
    for (const [bytes, header] of overlay.METACOPY_HEADERS) {
      digests[bytes] = pool.name(overlay.METACOPY, header);
    }
    this.#digests = digests;
    this.#metacopy = new Uint32Array(nodes.length);
    this.#path = new Uint32Array(nodes.length);
    this.#mayShare = new Uint8Array(nodes.length);
    this.#share(nodes, isExternal, pathsHaveDigests);
  }

  #share(nodes: readonly TreeNode[], isExternal: Uint8Array, pathsHaveDigests: boolean): void {
    const digests = new Int32Array(nodes.length).fill(NO_HASH);
    const payloads = new Int32Array(nodes.length).fill(NO_HASH);
    let undigested = 0;
    for (let ino = 0; ino < nodes.length; ino++) {
      if (isExternal[ino] === 0) continue;
      const { digest, payload } = nodes[ino] as TreeNode;
      if (digest !== undefined) digests[ino] = firstBits(digest);
      // Without a digest overlayfs has nothing to verify.
      else if (undigested === 0) undigested = this.#use(this.#metacopy, ino, this.#noDigest, overlay.EMPTY);
      else this.#useAgain(this.#metacopy, ino, undigested);
      if (payload && (digest === undefined || !pathsHaveDigests)) payloads[ino] = pathHash(payload);
    }
    for (const ino of repeated(digests)) {
      const { digest, payload } = nodes[ino] as TreeNode;
      this.#use(this.#metacopy, ino, this.#nameOf(digest), digest as ByteString);
      if (payload && pathsHaveDigests) payloads[ino] = pathHash(payload);
    }
    for (const ino of repeated(payloads)) {
      this.#use(this.#path, ino, this.#redirect, (nodes[ino] as TreeNode).payload as ByteString);
    }
  }

  /** Returns what stands in the column. */
  #use(column: Uint32Array, ino: number, name: XattrNameInfo, value: ByteString): number {
    const place = this.#entries.push(this.#pool.use(name, value));
    column[ino] = place;
    this.#mayShare[ino] = 1;
    return place;
  }

  #useAgain(column: Uint32Array, ino: number, place: number): void {
    this.#pool.useAgain(this.#entries[place - 1] as XattrEntry);
    column[ino] = place;
    this.#mayShare[ino] = 1;
  }

  /** As xattrAreaSize(), of an external node with all that it has; `xattrs` are those besides. */
  areaSize(ino: number, node: TreeNode, xattrs: readonly XattrEntry[]): number {
    const { digest, payload } = node;
    if (this.#mayShare[ino] !== 0 || !digest || !payload) return this.#areaSize(ino, node, xattrs);
    const like = this.#sized;
    if (digest.length === like.digestBytes && payload.length === like.pathBytes && xattrs === like.xattrs) {
      return like.size;
    }
    const size = this.#areaSize(ino, node, xattrs);
    this.#sized = { xattrs, digestBytes: digest.length, pathBytes: payload.length, size };
    return size;
  }

  #areaSize(ino: number, node: TreeNode, xattrs: readonly XattrEntry[]): number {
    if (xattrs !== this.#others) this.#lookAt(xattrs);
    if (!this.#othersStandBefore) return xattrAreaSize(this.allOf(ino, node, xattrs));
    const { digest, payload } = node;
    let size = this.#othersBytes;
    if (this.#shared(this.#metacopy, ino) !== undefined) size += XATTR_REF_SIZE;
    else size += entrySize(this.#nameOf(digest), digest ?? overlay.EMPTY);
    if (this.#shared(this.#path, ino) !== undefined) size += XATTR_REF_SIZE;
    else if (payload) size += entrySize(this.#redirect, payload);
    return size;
  }

  /** As writeXattrArea(). */
  writeArea(
    out: Uint8Array,
    words: Int32Array,
    start: number,
    ino: number,
    node: TreeNode,
    xattrs: readonly XattrEntry[],
    sharedBase: number,
  ): void {
    const { digest, payload } = node;
    const isOwn = this.#mayShare[ino] === 0 && digest && payload;
    if (isOwn) {
      const like = this.#written;
      if (digest.length === like.digestBytes && payload.length === like.pathBytes && xattrs === like.xattrs) {
        out.set(like.area, start);
        putBytes(out, start + like.digestAt, digest);
        putBytes(out, start + like.pathAt, payload);
        return;
      }
    }
    if (xattrs !== this.#others) this.#lookAt(xattrs);
    if (!this.#othersStandBefore) {
      writeXattrArea(out, words, start, this.allOf(ino, node, xattrs), sharedBase);
      return;
    }
    const metacopy = this.#shared(this.#metacopy, ino);
    const redirect = this.#shared(this.#path, ino);
    let filter = payload ? this.#filterBits : this.#noDigest.filterBit;
    let at = start + XATTR_HEADER_SIZE;
    let own = 0;
    for (const entry of xattrs) {
      filter |= entry.name.filterBit;
      if (entry.uses > 1) at = writeReference(words, at, entry, sharedBase);
      else own++;
    }
    if (metacopy !== undefined) at = writeReference(words, at, metacopy, sharedBase);
    if (redirect !== undefined) at = writeReference(words, at, redirect, sharedBase);
    words[start / 4] = ~filter;
    out[start + 4] = (at - start - XATTR_HEADER_SIZE) / XATTR_REF_SIZE;
    if (own > 0) {
      for (const { name, value, uses } of xattrs) if (uses === 1) at = writeEntry(out, at, name, value);
    }
    const digestName = this.#nameOf(digest);
    const digestAt = at + digestName.headBytes - start;
    if (metacopy === undefined) at = writeEntry(out, at, digestName, digest ?? overlay.EMPTY);
    const pathAt = at + this.#redirect.headBytes - start;
    if (payload && redirect === undefined) at = writeEntry(out, at, this.#redirect, payload);
    if (!isOwn) return;
    const like = { xattrs, digestBytes: digest.length, pathBytes: payload.length };
    this.#written = { ...like, area: out.slice(start, at), digestAt, pathAt };
  }

  #lookAt(xattrs: readonly XattrEntry[]): void {
    this.#others = xattrs;
    this.#othersStandBefore = standBefore(xattrs);
    this.#othersBytes = xattrs.length > 0 ? xattrAreaSize(xattrs) : XATTR_HEADER_SIZE;
  }

  /** The entry of a value that several have. */
  #shared(column: Uint32Array, ino: number): XattrEntry | undefined {
    const place = column[ino] as number;
    if (place === 0) return undefined;
    const entry = this.#entries[place - 1] as XattrEntry;
    return entry.uses > 1 ? entry : undefined;
  }

  /** All xattrs of an external node, in name order. */
  allOf(ino: number, { digest, payload }: TreeNode, xattrs: readonly XattrEntry[]): XattrEntry[] {
    const metacopy = this.#shared(this.#metacopy, ino);
    const redirect = this.#shared(this.#path, ino);
    const all = [...xattrs, metacopy ?? ownEntry(this.#nameOf(digest), digest ?? overlay.EMPTY)];
    if (payload) all.push(redirect ?? ownEntry(this.#redirect, payload));
    return all.sort(byName);
  }

  /** Without a digest, that of an empty value. */
  #nameOf(digest: ByteString | undefined): XattrNameInfo {
    return digest === undefined ? this.#noDigest : (this.#digests[digest.length] ?? this.#noDigest);
  }
}

function ownEntry(name: XattrNameInfo, value: ByteString): XattrEntry {
  return { name, value, uses: 1, sharedOffset: 0 };
}

/** Whether all of these come before those of overlayfs, and leave references for them; mostly there is none, or a label. */
function standBefore(xattrs: readonly XattrEntry[]): boolean {
  const last = xattrs[xattrs.length - 1];
  return last === undefined || (last.name.key < overlay.METACOPY && xattrs.length <= MAX_SHARED_REFS - 2);
}

const HASH_BITS = 28;
/** Who makes hashes that all begin at one place gets no benefit of the table, and no quadratic time. */
const MAX_PROBES = 64;

const NO_HASH = -1;

/**
 * The numbers whose hash some other one has, and perhaps a few more; `hashes` by number, NO_HASH for none. By a table of
 * the first of each hash, with open addressing: a Map of as many strings takes ten times as long.
 */
function repeated(hashes: Int32Array): number[] {
  const count = hashes.length;
  let size = 256;
  while (size < 2 * count) size *= 2;
  /** 1 + the number; 0 where there is none. */
  const firsts = new Int32Array(size);
  const mask = size - 1;
  const isFound = new Uint8Array(count);
  const found: number[] = [];
  for (let number = 0; number < count; number++) {
    const hash = hashes[number] as number;
    if (hash === NO_HASH) continue;
    let at = hash & mask;
    let probes = 1;
    while (firsts[at] !== 0 && hashes[(firsts[at] as number) - 1] !== hash && probes < MAX_PROBES) {
      at = (at + 1) & mask;
      probes++;
    }
    const first = (firsts[at] as number) - 1;
    if (first < 0) {
      firsts[at] = 1 + number;
      continue;
    }
    if (hashes[first] === hash && isFound[first] === 0) {
      isFound[first] = 1;
      found.push(first);
    }
    // Where the probes have ended with another hash, it is found as well, and so are all others with this one.
    found.push(number);
  }
  return found;
}

/** As good as random. */
function firstBits(digest: ByteString): number {
  return digest.charCodeAt(0) | (digest.charCodeAt(1) << 8) | (digest.charCodeAt(2) << 16);
}

/** Of the name of an object, seven of its hex digits are as good as random: those before ".file", or what stands there. */
function pathHash(path: ByteString): number {
  const end = path.length - 5;
  let hash = 0;
  for (let at = Math.max(end - 7, 0); at < end; at++) {
    const code = path.charCodeAt(at);
    const digit = code <= NINE ? code - ZERO : code - LETTER_A + 10;
    if (digit < 0 || digit > 15) return sampledHash(path);
    hash = (hash << 4) | digit;
  }
  return hash;
}

const ZERO = 0x30;
const NINE = 0x39;
const LETTER_A = 0x61;

/** Of some eight characters. */
function sampledHash(text: ByteString): number {
  const step = (text.length >> 3) | 1;
  let hash = text.length;
  for (let i = text.length - 1; i >= 0; i -= step) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return (hash ^ (hash >>> 15)) >>> (32 - HASH_BITS);
}

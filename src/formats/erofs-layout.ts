/**
 * The EROFS structures as composefs uses them; reader and writer share this table.
 * Sources: the kernel's fs/erofs/erofs_fs.h and the layout that libcomposefs 1.0.8 writes. Little endian throughout.
 */

import { roundUp } from './bytes.ts';
import type { ByteString } from './encoding.ts';
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK } from './tree.ts';

export const BLOCK_SIZE = 4096;
export const BLOCK_SIZE_LOG2 = 12;
/** An inode number (nid) counts slots of this size from the start of the image. */
export const SLOT_SIZE = 32;

/** composefs header, at offset 0, zeros up to the superblock. */
export const HEADER = { MAGIC: 0, VERSION: 4, FLAGS: 8, COMPOSEFS_VERSION: 12, END: 16 } as const;
export const COMPOSEFS_MAGIC = 0xd078629a;
export const COMPOSEFS_HEADER_VERSION = 1;
export const COMPOSEFS_FLAG_HAS_ACL = 1;
export const MAX_FORMAT_VERSION = 1;

/** struct erofs_super_block, offsets from the start of the image. */
export const SUPER_OFFSET = 1024;
export const SUPER = {
  MAGIC: SUPER_OFFSET,
  CHECKSUM: SUPER_OFFSET + 4,
  FEATURE_COMPAT: SUPER_OFFSET + 8,
  BLKSZBITS: SUPER_OFFSET + 12,
  EXTSLOTS: SUPER_OFFSET + 13,
  ROOT_NID: SUPER_OFFSET + 14,

  INOS: SUPER_OFFSET + 16,
  BUILD_TIME: SUPER_OFFSET + 24,

  BUILD_TIME_NSEC: SUPER_OFFSET + 32,
  BLOCKS: SUPER_OFFSET + 36,
  META_BLKADDR: SUPER_OFFSET + 40,
  XATTR_BLKADDR: SUPER_OFFSET + 44,

  /** uuid, volume name, then everything that composefs leaves zero. */
  UUID: SUPER_OFFSET + 48,
  FEATURE_INCOMPAT: SUPER_OFFSET + 80,
  END: SUPER_OFFSET + 128,
} as const;
export const EROFS_MAGIC = 0xe0f5e1e2;
/** EROFS_FEATURE_COMPAT_MTIME | EROFS_FEATURE_COMPAT_XATTR_FILTER. */
export const FEATURE_COMPAT = 2 | 4;
/** The root's nid is 16 bits wide; libcomposefs leaves the last value out. */
export const MAX_ROOT_NID = 0xfffe;

export const INODE_COMPACT_SIZE = 32;
/** struct erofs_inode_compact. */
export const COMPACT = {
  FORMAT: 0,
  XATTR_ICOUNT: 2,
  MODE: 4,
  NLINK: 6,
  SIZE: 8,
  RESERVED: 12,

  U: 16,
  INO: 20,
  UID: 24,
  GID: 26,
  RESERVED2: 28,
} as const;

export const INODE_EXTENDED_SIZE = 64;
/** struct erofs_inode_extended. */
export const EXTENDED = {
  FORMAT: 0,
  XATTR_ICOUNT: 2,
  MODE: 4,
  RESERVED: 6,
  SIZE: 8,

  U: 16,
  INO: 20,
  UID: 24,
  GID: 28,

  MTIME: 32,
  MTIME_NSEC: 40,
  NLINK: 44,

  RESERVED2: 48,
} as const;

/** i_format: bit 0 extended, bits 1..3 the data layout. */
export const FORMAT_EXTENDED = 1;
export const FORMAT_LAYOUT_SHIFT = 1;
export const FORMAT_KNOWN_BITS = 0xf;
export const LAYOUT_FLAT_PLAIN = 0;
export const LAYOUT_FLAT_INLINE = 2;
export const LAYOUT_CHUNK_BASED = 4;

/** struct erofs_xattr_ibody_header: name filter, count of shared references, reserved; then the references. */
export const XATTR_HEADER_SIZE = 12;
export const XATTR_REF_SIZE = 4;
/** Of one inode's shared xattrs only so many are referenced, the rest is stored inline. */
export const MAX_SHARED_REFS = 128;
/** struct erofs_xattr_entry: u8 name length, u8 name index, u16 value length; then suffix and value, padded to 4. */
export const XATTR_ENTRY_SIZE = 4;
/** Seed of the name filter, from erofs_fs.h. */
const XATTR_FILTER_SEED = 0x25bbe08f;

/** struct erofs_dirent: u64 nid, u16 name offset, u8 file type, u8 reserved. */
export const DIRENT_SIZE = 12;
export const DIRENT = { NID: 0, NAMEOFF: 8, FILE_TYPE: 10, RESERVED: 11 } as const;

/** A directory's or file's last partial block goes behind the inode only up to this size. */
export const MAX_TAIL = 2048;

/** Size of one chunk index; composefs writes only holes. */
export const CHUNK_INDEX_SIZE = 4;
export const CHUNK_HOLE = 0xffffffff;
/** i_u of a chunk-based inode: log2(chunk size) - 12 in these bits. */
export const CHUNK_BITS_MASK = 0x1f;
const MAX_CHUNK_BITS = BLOCK_SIZE_LOG2 + CHUNK_BITS_MASK;
const MAX_CHUNK_BYTES = 2 ** MAX_CHUNK_BITS;

/** log2 of the chunk size that composefs gives a file of `size` (at least 1) bytes: one chunk as far as it goes. */
export function chunkBits(size: number): number {
  if (size <= BLOCK_SIZE) return BLOCK_SIZE_LOG2;
  const last = size - 1;
  // clz32() takes the lower 32 bits of a whole number.
  const bits = last <= 0xffffffff ? 32 - Math.clz32(last) : 64 - Math.clz32(last / 2 ** 32);
  return bits < MAX_CHUNK_BITS ? bits : MAX_CHUNK_BITS;
}

export function chunkCount(size: number): number {
  return size > 0 && size <= MAX_CHUNK_BYTES ? 1 : Math.ceil(size / MAX_CHUNK_BYTES);
}

/** Bytes of a file's inline content that stand behind the inode; the others fill whole blocks. */
export function tailOfContent(size: number): number {
  const tail = size % BLOCK_SIZE;
  return tail > MAX_TAIL ? 0 : tail;
}

export interface Placement {
  readonly offset: number;
  /** What would have stood behind the inode goes to a block of its own. */
  readonly moved: boolean;
}

/**
 * Where an inode goes that may not begin before `start`, a multiple of the slot size: what stands behind it must not
 * cross a block. `head`: bytes of the inode and its xattrs; `tail`: those behind them.
 */
export function placeInode(isLink: boolean, start: number, head: number, tail: number): Placement {
  if (isLink) {
    const end = start + head + tail;
    const crosses = Math.floor(start / BLOCK_SIZE) !== Math.floor((end - 1) / BLOCK_SIZE);
    return { offset: crosses ? roundUp(start, BLOCK_SIZE) : start, moved: head + tail >= BLOCK_SIZE };
  }
  const left = BLOCK_SIZE - ((start + head) % BLOCK_SIZE);
  if (left >= tail) return { offset: start, moved: false };
  const padding = roundUp(left, SLOT_SIZE);
  const fits = tail <= BLOCK_SIZE - ((start + head + padding) % BLOCK_SIZE);
  return { offset: fits ? start + padding : roundUp(start, BLOCK_SIZE), moved: !fits };
}

/** By the four bits of a mode that say what it is. */
export const DIRENT_TYPES = new Uint8Array(16);
for (const [i, type] of [S_IFREG, S_IFDIR, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK, S_IFLNK].entries()) {
  DIRENT_TYPES[type >> 12] = i + 1;
}

/** The dirent's file type; 0 (EROFS_FT_UNKNOWN) for a mode that no node has. */
export function direntType(mode: number): number {
  return DIRENT_TYPES[(mode & S_IFMT) >> 12] as number;
}

/** First match wins, as in libcomposefs: "system.posix_acl_accessfoo" has index 2 and the suffix "foo". */
const XATTR_PREFIXES: readonly (readonly [index: number, prefix: string])[] = [
  [1, 'user.'],
  [2, 'system.posix_acl_access'],
  [3, 'system.posix_acl_default'],
  [4, 'trusted.'],
  [6, 'security.'],
];

export interface XattrName {
  index: number;
  suffix: ByteString;
}

/** How EROFS stores an xattr name: a prefix number and the rest; index 0 holds the whole name. */
export function splitXattrName(key: ByteString): XattrName {
  for (const [index, prefix] of XATTR_PREFIXES) {
    if (key.startsWith(prefix)) return { index, suffix: key.slice(prefix.length) as ByteString };
  }
  return { index: 0, suffix: key };
}

/** The name again, or undefined for an index that composefs never writes. */
export function joinXattrName(index: number, suffix: ByteString): ByteString | undefined {
  if (index === 0) return suffix;
  for (const [known, prefix] of XATTR_PREFIXES) {
    if (known === index) return (prefix + suffix) as ByteString;
  }
  return undefined;
}

/** The bit, of 32 with a sign, that this name clears in an inode's name filter. */
export function xattrFilterBit(name: XattrName): number {
  return 1 << (xxh32(name.suffix, XATTR_FILTER_SEED + name.index) & 31);
}

const PRIME1 = 0x9e3779b1 | 0;
const PRIME2 = 0x85ebca77 | 0;
const PRIME3 = 0xc2b2ae3d | 0;
const PRIME4 = 0x27d4eb2f | 0;
const PRIME5 = 0x165667b1 | 0;

function rotateLeft(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}

function word(text: string, at: number): number {
  return (
    text.charCodeAt(at) |
    (text.charCodeAt(at + 1) << 8) |
    (text.charCodeAt(at + 2) << 16) |
    (text.charCodeAt(at + 3) << 24)
  );
}

function round(lane: number, input: number): number {
  return Math.imul(rotateLeft((lane + Math.imul(input, PRIME2)) | 0, 13), PRIME1);
}

/** xxHash, 32 bits (github.com/Cyan4973/xxHash, doc/xxhash_spec.md, "XXH32 algorithm description"). */
export function xxh32(text: ByteString, seed: number): number {
  const length = text.length;
  let at = 0;
  let hash: number;
  if (length >= 16) {
    let lane1 = (seed + PRIME1 + PRIME2) | 0;
    let lane2 = (seed + PRIME2) | 0;
    let lane3 = seed | 0;
    let lane4 = (seed - PRIME1) | 0;
    for (; at + 16 <= length; at += 16) {
      lane1 = round(lane1, word(text, at));
      lane2 = round(lane2, word(text, at + 4));
      lane3 = round(lane3, word(text, at + 8));
      lane4 = round(lane4, word(text, at + 12));
    }
    hash = rotateLeft(lane1, 1) + rotateLeft(lane2, 7) + rotateLeft(lane3, 12) + rotateLeft(lane4, 18);
  } else {
    hash = seed + PRIME5;
  }
  hash = (hash + length) | 0;
  for (; at + 4 <= length; at += 4) {
    hash = Math.imul(rotateLeft((hash + Math.imul(word(text, at), PRIME3)) | 0, 17), PRIME4);
  }
  for (; at < length; at++) {
    hash = Math.imul(rotateLeft((hash + Math.imul(text.charCodeAt(at), PRIME5)) | 0, 11), PRIME1);
  }
  hash = Math.imul(hash ^ (hash >>> 15), PRIME2);
  hash = Math.imul(hash ^ (hash >>> 13), PRIME3);
  return (hash ^ (hash >>> 16)) >>> 0;
}

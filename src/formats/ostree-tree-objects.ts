/**
 * The ostree objects below a commit: dirtree, dirmeta, and the headers of files as the repository modes bare-user
 * (xattr `user.ostreemeta`) and archive (`.filez`) store them. Types: libostree's ostree-core.h and
 * ostree-core-private.h (OSTREE_TREE_, OSTREE_DIRMETA_, _OSTREE_ZLIB_FILE_HEADER_GVARIANT_FORMAT).
 * Build side and deploy only. All integers in them are big endian inside the little endian serialisation.
 */

import { ByteReader, concatBytes } from './bytes.ts';
import {
  type ByteString,
  hex,
  isChecksum,
  parseHex,
  printable,
  toByteString,
  utf8String,
} from './encoding.ts';
import { badInput } from './errors.ts';
import { decode } from './gvariant.ts';
import { offsetSize } from './gvariant-types.ts';
import { CHECKSUM_BYTES, checksum, swapped } from './ostree-objects.ts';
import { isValidName, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from './tree.ts';

/** libostree's OSTREE_MAX_METADATA_SIZE. */
export const MAX_METADATA_BYTES = 128 * 1024 * 1024;
/** Entries of one dirtree and xattrs of one file are linear in the object's size, which is bounded already. */
const UNLIMITED = Number.POSITIVE_INFINITY;

/** Of objects, 32 bytes each. */
export interface Checksums {
  readonly bytes: Uint8Array;
  /** Where each begins. */
  readonly places: readonly number[];
}

export interface DirTree {
  readonly files: readonly ByteString[];
  /** Of the content object of each file: as they stand in the dirtree, since their digits take twice the room. */
  readonly checksums: Checksums;
  readonly directories: ReadonlyMap<ByteString, { readonly tree: string; readonly meta: string }>;
}

export interface Ownership {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly xattrs: ReadonlyMap<ByteString, Uint8Array>;
}

export interface ArchiveHeader extends Ownership {
  /** Bytes of the uncompressed content; 0 for a symbolic link. */
  readonly size: number;
  /** Symbolic links only. */
  readonly target?: ByteString;
  /** Where the raw deflate stream starts. */
  readonly contentOffset: number;
}

/** Before every other. */
const NO_NAME = '' as ByteString;
const NOT_A_NAME = 'is not a file name';
const REPEATED = 'stands in it twice';
const SLASH = 0x2f;
/** Offsets in one that is not larger have one byte each. */
const MAX_USUAL_TUPLE = 255;

/** Throws `gvariant-malformed`, `dirtree-malformed`; names are valid file names and unique. */
export function parseDirTree(bytes: Uint8Array, what = 'dirtree'): DirTree {
  return usualDirTree(bytes) ?? anyDirTree(bytes, what);
}

/**
 * A dirtree of thousands, as libostree writes them: names of less than 189 bytes in byte order, and none twice. Undefined for
 * whatever is not so, even if it is valid. A decoder of all types makes several calls and arrays for each name: twice the time.
 */
function usualDirTree(bytes: Uint8Array): DirTree | undefined {
  const files: ByteString[] = [];
  const names: ByteString[] = [];
  const filesAt: number[] = [];
  const directoriesAt: number[] = [];
  const end = bytes.length;
  // (a(say)a(sayay)): where the first list ends, in as many bytes as an offset has.
  const width = offsetSize(end, 0);
  const bodyEnd = end - width;
  if (bodyEnd < 0 || (width > 1 && offsetSize(bodyEnd, 1) !== width)) return undefined;
  const listEnd = offsetAt(bytes, bodyEnd, width);
  if (!readList(bytes, 0, listEnd, 1, files, filesAt)) return undefined;
  if (!readList(bytes, listEnd, bodyEnd, 2, names, directoriesAt)) return undefined;
  const directories = new Map<ByteString, { tree: string; meta: string }>();
  for (let i = 0; i < names.length; i++) {
    const at = directoriesAt[i] as number;
    directories.set(names[i] as ByteString, {
      tree: checksumAt(bytes, at),
      meta: checksumAt(bytes, at + CHECKSUM_BYTES),
    });
  }
  if (directories.size > 0) for (const name of files) if (directories.has(name)) return undefined;
  return { files, checksums: { bytes, places: filesAt }, directories };
}

/** From their digits; throws `checksum-malformed`. */
export function checksumsOf(digits: readonly string[]): Checksums {
  const sums = digits.map((one) => {
    if (!isChecksum(one))
      throw badInput('checksum-malformed', `cannot read "${printable(one)}": not a checksum`);
    return parseHex(one, 'checksum');
  });
  return packed(sums);
}

function packed(sums: readonly Uint8Array[]): Checksums {
  return { bytes: concatBytes(sums), places: sums.map((_, i) => i * CHECKSUM_BYTES) };
}

/** The digits of one of them. */
export function nthChecksum({ bytes, places }: Checksums, n: number): string {
  return checksumAt(bytes, places[n] as number);
}

function checksumAt(bytes: Uint8Array, at: number): string {
  return hex(bytes, at, at + CHECKSUM_BYTES);
}

/**
 * An array of (say) or (sayay), which ends in a table of offsets, as each of the tuples does. Appends of each the name and
 * where the `count` checksums begin, until one of them is unusual.
 */
function readList(
  bytes: Uint8Array,
  start: number,
  end: number,
  count: 1 | 2,
  names: ByteString[],
  checksumsAt: number[],
): boolean {
  if (start === end) return true;
  const width = offsetSize(end - start, 0);
  const body = offsetAt(bytes, end - width, width);
  const table = start + body;
  const length = (end - table) / width;
  if (length < 1 || !Number.isInteger(length) || offsetSize(body, length) !== width) return false;
  let last = NO_NAME;
  let from = start;
  let slash = -1;
  for (let i = 0, place = table; i < length; i++, place += width) {
    const low = bytes[place] as number;
    const offset = width === 1 ? low : width === 2 ? low | ((bytes[place + 1] as number) << 8) : undefined;
    const to = start + (offset ?? offsetAt(bytes, place, width));
    // Offsets of a tuple of this size are bytes. The last checksum needs none.
    const at = to - count - count * CHECKSUM_BYTES;
    if (to - from > MAX_USUAL_TUPLE || at <= from) return false;
    if (bytes[to - 1] !== at - from) return false;
    if (count === 2 && bytes[to - 2] !== at - from + CHECKSUM_BYTES) return false;
    // As isValidName() has it, which would look through each name twice: its first NUL is the one behind it.
    if (slash < from) slash = placeOf(SLASH, bytes, from);
    if (slash < at || bytes.indexOf(0, from) !== at - 1) return false;
    const name = utf8String(bytes, from, at - 1);
    if (name === undefined || name <= last || name === '.' || name === '..') return false;
    names[i] = name;
    checksumsAt[i] = at;
    last = name;
    from = to;
  }
  // The last of them is what the table was found by.
  return true;
}

/** The next one; the end where there is none. */
function placeOf(byte: number, bytes: Uint8Array, from: number): number {
  const at = bytes.indexOf(byte, from);
  return at < 0 ? bytes.length : at;
}

/** The caller guarantees that it stands inside. */
function offsetAt(bytes: Uint8Array, at: number, size: number): number {
  const low = bytes[at] as number;
  if (size === 1) return low;
  const lower = low | ((bytes[at + 1] as number) << 8);
  return size === 2
    ? lower
    : lower + ((bytes[at + 2] as number) | ((bytes[at + 3] as number) << 8)) * 2 ** 16;
}

function anyDirTree(bytes: Uint8Array, what: string): DirTree {
  const [fileList, directoryList] = decode('(a(say)a(sayay))', bytes, what, UNLIMITED);
  const files: ByteString[] = [];
  const sums: Uint8Array[] = [];
  const directories = new Map<ByteString, { tree: string; meta: string }>();
  function refuse(name: ByteString, fact: string): never {
    throw badInput('dirtree-malformed', `cannot read ${what}: "${printable(name)}" ${fact}`);
  }
  let last = NO_NAME;
  let isSorted = true;
  for (const [name, sum] of fileList) {
    if (!isValidName(name)) refuse(name, NOT_A_NAME);
    files.push(name);
    checksum(sum, what, 'file');
    sums.push(sum);
    if (name <= last) isSorted = false;
    last = name;
  }
  for (const [name, tree, meta] of directoryList) {
    if (!isValidName(name)) refuse(name, NOT_A_NAME);
    const before = directories.size;
    directories.set(name, { tree: checksum(tree, what, 'dirtree'), meta: checksum(meta, what, 'dirmeta') });
    if (directories.size === before) refuse(name, REPEATED);
  }
  // As libostree writes them they are sorted, and mostly without directories beside them: nothing to look up.
  const before = isSorted ? undefined : new Set<ByteString>();
  if (before !== undefined || directories.size > 0) {
    for (const name of files) {
      if (directories.has(name) || before?.has(name)) refuse(name, REPEATED);
      before?.add(name);
    }
  }
  return { files, checksums: packed(sums), directories };
}

/** Owner, mode and xattrs of a directory. */
export function parseDirMeta(bytes: Uint8Array, what = 'dirmeta'): Ownership {
  return parseOwnership(bytes, what, [S_IFDIR]);
}

/** The value of `user.ostreemeta` on an object of a bare-user repository. */
export function parseOstreeMeta(bytes: Uint8Array, what = 'user.ostreemeta'): Ownership {
  return parseOwnership(bytes, what, [S_IFREG, S_IFLNK]);
}

function parseOwnership(bytes: Uint8Array, what: string, types: readonly number[]): Ownership {
  const [uid, gid, mode, xattrs] = decode('(uuua(ayay))', bytes, what, UNLIMITED);
  return {
    mode: requireMode(swapped32(mode), types, what),
    uid: swapped32(uid),
    gid: swapped32(gid),
    xattrs: parseXattrs(xattrs, what),
  };
}

const SIZE_FIELD_BYTES = 8;

/** The head of a `.filez` object: `u32be length, 4 zero bytes, (tuuuusa(ayay))`; raw deflate follows. */
export function parseArchiveHeader(bytes: Uint8Array, what = 'file header'): ArchiveHeader {
  const reader = new ByteReader(bytes, what);
  const contentOffset = SIZE_FIELD_BYTES + reader.u32be(0);
  if (reader.u32be(4) !== 0) throw malformed(what, 'its padding is not zero');
  const variant = reader.slice(SIZE_FIELD_BYTES, contentOffset);
  const [size, uid, gid, mode, rdev, target, xattrs] = decode('(tuuuusa(ayay))', variant, what, UNLIMITED);
  const bytesOfContent = swapped(size);
  if (bytesOfContent > BigInt(Number.MAX_SAFE_INTEGER))
    throw malformed(what, `its size is ${bytesOfContent}`);
  const type = swapped32(mode) & S_IFMT;
  if (rdev !== 0) throw malformed(what, `its device number is ${swapped32(rdev)}`);
  if ((type === S_IFLNK) !== target.length > 0) {
    throw malformed(what, `it has type 0o${type.toString(8)} and a link target of ${target.length} bytes`);
  }
  return {
    mode: requireMode(swapped32(mode), [S_IFREG, S_IFLNK], what),
    uid: swapped32(uid),
    gid: swapped32(gid),
    xattrs: parseXattrs(xattrs, what),
    size: Number(bytesOfContent),
    ...(type === S_IFLNK && { target }),
    contentOffset,
  };
}

/** Bytes that hold a whole archive header, given the object's first 8; refuses what could not be one. */
export function archiveHeaderBytes(head: Uint8Array, what: string): number {
  const length = new ByteReader(head, what).u32be(0);
  if (length > MAX_METADATA_BYTES) throw malformed(what, `it claims ${length} bytes`);
  return SIZE_FIELD_BYTES + length;
}

function requireMode(mode: number, types: readonly number[], what: string): number {
  if (types.includes(mode & S_IFMT) && (mode & ~(S_IFMT | 0o7777)) === 0) return mode;
  const expected = types.map((type) => `0o${type.toString(8)}`).join(' or ');
  throw malformed(what, `its mode is 0o${mode.toString(8)}, expected type ${expected}`);
}

function parseXattrs(
  list: readonly (readonly [Uint8Array, Uint8Array])[],
  what: string,
): Map<ByteString, Uint8Array> {
  const out = new Map<ByteString, Uint8Array>();
  for (const [nameBytes, value] of list) {
    const name = toByteString(nameBytes.subarray(0, Math.max(0, nameBytes.length - 1)));
    if (nameBytes[nameBytes.length - 1] !== 0 || name.length === 0 || name.includes('\0') || out.has(name)) {
      throw malformed(what, `bad or repeated xattr name ${hex(nameBytes.subarray(0, 64))}`);
    }
    out.set(name, value);
  }
  return out;
}

function malformed(what: string, fact: string): Error {
  return badInput('object-malformed', `cannot read ${what}: ${fact}`);
}

function swapped32(value: number): number {
  return (
    ((value & 0xff) * 2 ** 24 + ((value & 0xff00) << 8) + ((value >>> 8) & 0xff00) + (value >>> 24)) >>> 0
  );
}

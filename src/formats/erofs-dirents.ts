/** The entries of an EROFS directory: names inside their block, valid, and in strictly ascending order. */

import { compareRanges, wholeNumber } from './bytes.ts';
import { printable, toByteString } from './encoding.ts';
import type { ErofsImage } from './erofs-image.ts';
import { ErofsInode, nameOf, sizeOf, unionOf } from './erofs-inode.ts';
import { BLOCK_SIZE, DIRENT, DIRENT_SIZE, FORMAT_LAYOUT_SHIFT, LAYOUT_FLAT_PLAIN } from './erofs-layout.ts';
import { isValidName, MAX_NAME_BYTES } from './tree.ts';

const SLASH = 0x2f;
const DOT = 0x2e;

/**
 * Adds all entries of a directory to the table, with "." and ".."; inodes are not yet looked at. A block whose entries
 * make no sense gives none.
 */
export function readDirents(image: ErofsImage, dir: number): void {
  const { inodes } = image;
  const tail = inodes.tail[dir] as number;
  const blocks = inodes.blocks[dir] as number;
  const dataLayout = (inodes.format[dir] as number) >> FORMAT_LAYOUT_SHIFT;
  const first = image.entries.count;
  if (dataLayout === LAYOUT_FLAT_PLAIN && sizeOf(image, dir) % BLOCK_SIZE !== 0) {
    const inode = new ErofsInode(image, dir);
    const fact = `the size ${sizeOf(image, dir)} of a directory is not whole blocks`;
    image.findings.add('erofs-directory-invalid', inode.offset, fact, inode);
  }
  for (let i = 0; i < blocks; i++) {
    const start = (unionOf(image, dir) + i) * BLOCK_SIZE;
    readChunk(image, dir, first, start, direntsEnd(image, start, start + BLOCK_SIZE));
  }
  if (tail === 0) return;
  const start = inodes.xattrEnd[dir] as number;
  readChunk(image, dir, first, start, start + tail);
}

/** A block is padded with zeros behind its last name. */
export function direntsEnd({ bytes }: Pick<ErofsImage, 'bytes'>, start: number, end: number): number {
  let at = end;
  while (at > start && bytes[at - 1] === 0) at--;
  return at;
}

/** The offset of its name that the entry at `at` gives, counted from the start of its chunk. */
export function nameOffset({ words }: Pick<ErofsImage, 'words'>, at: number): number {
  return (words[(at + DIRENT.NAMEOFF) >> 2] as number) & 0xffff;
}

/** The inode number of the entry at `at`; exact up to 2^53. */
export function nidOf({ words }: Pick<ErofsImage, 'words'>, at: number): number {
  const low = (words[at >> 2] as number) >>> 0;
  return wholeNumber(low, (words[(at + 4) >> 2] as number) >>> 0);
}

/** Where the names of a chunk begin, counted from its start; 0 when that cannot be. */
function namesOffset(image: ErofsImage, start: number, end: number): number {
  if (end - start < DIRENT_SIZE) return 0;
  const offset = nameOffset(image, start);
  return offset % DIRENT_SIZE === 0 && start + offset < end ? offset : 0;
}

/** `first`: the row of the directory's first entry. */
function readChunk(image: ErofsImage, dir: number, first: number, start: number, end: number): void {
  const { bytes, entries, words } = image;
  const namesStart = start + namesOffset(image, start, end);
  if (namesStart === start) {
    refuseChunk(image, dir, start, 'names do not follow the entries');
    return;
  }
  const plain = isPlain(bytes, namesStart, end);
  let row = entries.count;
  entries.reserve((namesStart - start) / DIRENT_SIZE);
  let from = namesStart;
  for (let at = start; at < namesStart; at += DIRENT_SIZE) {
    const next = at + DIRENT_SIZE;
    const to = next < namesStart ? start + ((words[(next + DIRENT.NAMEOFF) >> 2] as number) & 0xffff) : end;
    if (to <= from || to > end) {
      refuseChunk(image, dir, at, 'a name is empty or beyond its block');
      break;
    }
    if ((plain && to - from <= MAX_NAME_BYTES) || isName(image, dir, from, to)) {
      entries.at[row] = at;
      entries.name[row] = from;
      entries.length[row] = to - from;
      if (row > first) requireOrder(image, dir, row);
      row++;
    }
    from = to;
  }
  entries.count = row;
}

function refuseChunk(image: ErofsImage, dir: number, at: number, fact: string): void {
  image.findings.add('erofs-directory-invalid', at, fact, new ErofsInode(image, dir));
  image.complete = false;
}

/** Whether no byte is one that names cannot have. */
function isPlain(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if (bytes[at] === 0 || bytes[at] === SLASH) return false;
  return true;
}

function isName(image: ErofsImage, dir: number, from: number, to: number): boolean {
  const name = toByteString(image.bytes.subarray(from, to));
  if (isValidName(name) || name === '.' || name === '..') return true;
  const fact = `"${printable(name)}" is not a file name`;
  image.findings.add('erofs-name-invalid', from, fact, new ErofsInode(image, dir));
  image.complete = false;
  return false;
}

/** "." or "..". */
export function isDots({ bytes, entries }: ErofsImage, row: number): boolean {
  const start = entries.name[row] as number;
  const length = entries.length[row] as number;
  return length <= 2 && bytes[start] === DOT && (length === 1 || bytes[start + 1] === DOT);
}

/** The name in a row comes behind that in the row before. */
function requireOrder(image: ErofsImage, dir: number, row: number): void {
  const { at, length, name } = image.entries;
  const order = compareRanges(
    image.bytes,
    name[row - 1] as number,
    length[row - 1] as number,
    name[row] as number,
    length[row] as number,
  );
  if (order < 0) return;
  const code = order === 0 ? 'erofs-name-duplicate' : 'erofs-directory-unsorted';
  const fact = `"${printable(nameOf(image, row))}" follows "${printable(nameOf(image, row - 1))}"`;
  image.findings.add(code, at[row] as number, fact, new ErofsInode(image, dir));
}

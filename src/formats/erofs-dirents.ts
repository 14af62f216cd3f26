/** The entries of an EROFS directory: names inside their block, valid, and in strictly ascending order. */

import { type ByteString, printable, toByteString } from './encoding.ts';
import type { Bytes, ErofsInode } from './erofs-inode.ts';
import { BLOCK_SIZE, DIRENT, DIRENT_SIZE, LAYOUT_FLAT_PLAIN } from './erofs-layout.ts';
import { isValidName } from './tree.ts';

export interface RawDirent {
  readonly name: ByteString;
  readonly nid: number;
  readonly fileType: number;
  /** Where the entry stands. */
  readonly at: number;
}

/** All entries, with "." and ".."; nids are not yet looked at. A block whose entries make no sense gives none. */
export function readDirents(image: Bytes, dir: ErofsInode): RawDirent[] {
  const out: RawDirent[] = [];
  if (dir.layout === LAYOUT_FLAT_PLAIN && dir.size % BLOCK_SIZE !== 0) {
    const fact = `the size ${dir.size} of a directory is not whole blocks`;
    image.findings.add('erofs-directory-invalid', dir.offset, fact, dir);
  }
  for (let i = 0; i < dir.blocks; i++) {
    const start = (dir.union + i) * BLOCK_SIZE;
    readChunk(image, dir, start, direntsEnd(image, start, start + BLOCK_SIZE), out);
  }
  if (dir.tail > 0) readChunk(image, dir, dir.xattrEnd, dir.xattrEnd + dir.tail, out);
  return out;
}

/** A block is padded with zeros behind its last name. */
export function direntsEnd({ bytes }: Bytes, start: number, end: number): number {
  let at = end;
  while (at > start && bytes[at - 1] === 0) at--;
  return at;
}

/** Where the names of a chunk begin, counted from its start; 0 when that cannot be. */
function namesOffset({ view }: Bytes, start: number, end: number): number {
  if (end - start < DIRENT_SIZE) return 0;
  const offset = view.getUint16(start + DIRENT.NAMEOFF, true);
  return offset % DIRENT_SIZE === 0 && start + offset < end ? offset : 0;
}

function readChunk(image: Bytes, dir: ErofsInode, start: number, end: number, out: RawDirent[]): void {
  const { view, findings } = image;
  const namesStart = namesOffset(image, start, end);
  if (namesStart === 0) {
    findings.add('erofs-directory-invalid', start, 'names do not follow the entries', dir);
    image.complete = false;
    return;
  }
  // One string for all names: slices of it cost less than a string of their own each.
  const names = toByteString(image.bytes.subarray(start + namesStart, end));
  const plain = !names.includes('/') && !names.includes('\0');
  let last = out.at(-1)?.name ?? ('' as ByteString);
  let from = 0;
  for (let at = start; at < start + namesStart; at += DIRENT_SIZE) {
    let to = names.length;
    if (at + DIRENT_SIZE < start + namesStart) {
      to = view.getUint16(at + DIRENT_SIZE + DIRENT.NAMEOFF, true) - namesStart;
    }
    if (to <= from || to > names.length) {
      findings.add('erofs-directory-invalid', at, 'a name is empty or beyond its block', dir);
      image.complete = false;
      return;
    }
    const name = names.slice(from, to) as ByteString;
    if ((!plain || name.length > 255) && !isValidName(name) && name !== '.' && name !== '..') {
      const where = start + namesStart + from;
      findings.add('erofs-name-invalid', where, `"${printable(name)}" is not a file name`, dir);
      image.complete = false;
    } else {
      requireOrder(image, dir, last, name, at);
      const nid = view.getUint32(at + DIRENT.NID, true) + view.getUint32(at + DIRENT.NID + 4, true) * 2 ** 32;
      out.push({ name, nid, fileType: view.getUint8(at + DIRENT.FILE_TYPE), at });
      last = name;
    }
    from = to;
  }
}

function requireOrder(image: Bytes, dir: ErofsInode, last: ByteString, name: ByteString, at: number): void {
  if (last < name) return;
  const code = last === name ? 'erofs-name-duplicate' : 'erofs-directory-unsorted';
  image.findings.add(code, at, `"${printable(name)}" follows "${printable(last)}"`, dir);
}

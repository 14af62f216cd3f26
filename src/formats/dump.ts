/**
 * The composefs dump text of an image: one line per name, as `composefs-info dump` prints it. Source:
 * composefs-dump(5).
 */

import { type ByteString, fromByteString } from './encoding.ts';
import type { ErofsImage } from './erofs-image.ts';
import { gidOf, mtimeAt, nameOf, nanosecondsAt, nlinkOf, secondsAt, sizeOf, uidOf } from './erofs-inode.ts';
import { COMPACT, EXTENDED, FORMAT_EXTENDED } from './erofs-layout.ts';
import { openImage } from './erofs-read.ts';
import { NONE } from './erofs-tables.ts';
import {
  digestStart,
  hasInlineContent,
  isRealWhiteout,
  payloadStart,
  visibleMode,
  visibleRdev,
  visibleXattrs,
} from './erofs-visible.ts';
import { valueEnd } from './erofs-xattr-read.ts';
import { S_IFDIR, S_IFLNK, S_IFMT } from './tree.ts';

const EVERYTHING: ReadonlySet<ByteString> = new Set();

/**
 * The dump text of an image, depth first in name order; of the names in the root only those in `topLevel`, all when
 * it is empty. Of a file with several names the first one that is shown is the file. Refuses what `readImage` refuses.
 */
export function dumpImage(bytes: Uint8Array, topLevel = EVERYTHING): Uint8Array {
  const writer = new DumpWriter(openImage(bytes));
  writer.root(topLevel);
  return writer.out.subarray(0, writer.at);
}

const SPACE = 0x20;
const DASH = 0x2d;
const DOT = 0x2e;
const SLASH = 0x2f;
const ZERO = 0x30;
const EQUALS = 0x3d;
const AT_SIGN = 0x40;
const BACKSLASH = 0x5c;
const LETTER_X = 0x78;
const NEWLINE = 0x0a;

/** More than what has a limit in a line takes: numbers, a digest, what stands between the fields. */
const NUMBERS_BYTES = 256;
/** An escape for each byte. */
const LONGEST_ESCAPE = 4;
/** What was written before is looked for in one of so many places: a power of two. */
const REMEMBERED = 4096;

/** Writes into one array, in which what comes again (the path of a directory, numbers) is copied from before. */
class DumpWriter {
  readonly image: ErofsImage;
  out: Uint8Array;
  at = 0;
  /** By row: where the path of the first name that was shown stands. Its end is 0 before that. */
  readonly pathStart: Int32Array;
  readonly pathEnd: Int32Array;
  /** Rows whose numbers were written, and where these stand. */
  readonly rememberedRow = new Int32Array(REMEMBERED).fill(NONE);
  readonly numbersStart = new Int32Array(REMEMBERED);
  readonly numbersEnd = new Int32Array(REMEMBERED);

  constructor(image: ErofsImage) {
    this.image = image;
    this.out = new Uint8Array(image.bytes.length + (image.bytes.length >> 2));
    this.pathStart = new Int32Array(image.inodes.count);
    this.pathEnd = new Int32Array(image.inodes.count);
  }

  root(topLevel: ReadonlySet<ByteString>): void {
    this.out[this.at++] = SLASH;
    this.line(0, false);
    this.directory(0, 0, 0, topLevel);
  }

  /** The names in a directory, whose own path stands there; that of the root is empty. */
  directory(dir: number, start: number, end: number, only: ReadonlySet<ByteString>): void {
    const { image, pathEnd, pathStart } = this;
    const { entriesFrom, entriesTo, mode } = image.inodes;
    const { inode, length, name } = image.entries;
    const to = entriesTo[dir] as number;
    for (let entry = entriesFrom[dir] as number; entry < to; entry++) {
      const row = inode[entry] as number;
      if (row === NONE || isRealWhiteout(image, row)) continue;
      if (only.size > 0 && !only.has(nameOf(image, entry))) continue;
      const nameStart = name[entry] as number;
      const nameBytes = length[entry] as number;
      this.reserve(end - start + LONGEST_ESCAPE * nameBytes + 1);
      const pathAt = this.at;
      const { out } = this;
      out.copyWithin(pathAt, start, end);
      let at = pathAt + end - start;
      out[at++] = SLASH;
      at = putEscaped(out, at, image.bytes, nameStart, nameStart + nameBytes, FIELD);
      this.at = at;
      const isLink = pathEnd[row] !== 0;
      if (!isLink) {
        pathStart[row] = pathAt;
        pathEnd[row] = at;
      }
      this.line(row, isLink);
      if (((mode[row] as number) & S_IFMT) === S_IFDIR) this.directory(row, pathAt, at, EVERYTHING);
    }
  }

  /** What follows the path in the line of an inode. */
  line(row: number, isLink: boolean): void {
    const { image } = this;
    const { bytes, inodes } = image;
    const { hasVisibleXattrs, metacopy, mode, redirect } = inodes;
    const isTarget = ((mode[row] as number) & S_IFMT) === S_IFLNK;
    this.reserve(NUMBERS_BYTES);
    let at = this.at;
    this.out[at++] = SPACE;
    at = putNumber(this.out, at, sizeOf(image, row));
    this.out[at++] = SPACE;
    if (isLink) this.out[at++] = AT_SIGN;
    this.at = this.numbers(at, row);
    this.out[this.at++] = SPACE;
    if (isLink) this.again(this.pathStart[row] as number, this.pathEnd[row] as number);
    else if (redirect[row] !== 0) {
      this.field(bytes, payloadStart(image, row), valueEnd(image, redirect[row] as number));
    } else if (isTarget) this.data(row);
    else this.out[this.at++] = DASH;
    this.reserve(NUMBERS_BYTES);
    this.out[this.at++] = SPACE;
    if (hasInlineContent(image, row)) {
      this.data(row);
      this.reserve(NUMBERS_BYTES);
    } else this.out[this.at++] = DASH;
    this.out[this.at++] = SPACE;
    const digest = digestStart(image, row);
    if (digest === 0) this.out[this.at++] = DASH;
    else this.at = putHex(this.out, this.at, bytes, digest, valueEnd(image, metacopy[row] as number));
    if (hasVisibleXattrs[row] !== 0) this.xattrs(row);
    this.out[this.at++] = NEWLINE;
  }

  /** From the mode to the mtime, where there is room for it. Returns its end. */
  numbers(start: number, row: number): number {
    const { image } = this;
    const place = numbersHash(image, row);
    const known = this.rememberedRow[place] as number;
    if (known !== NONE && sameNumbers(image, known, row)) {
      const from = this.numbersStart[place] as number;
      const to = this.numbersEnd[place] as number;
      this.out.copyWithin(start, from, to);
      return start + to - from;
    }
    const end = putNumbers(this.out, start, image, row);
    this.rememberedRow[place] = row;
    this.numbersStart[place] = start;
    this.numbersEnd[place] = end;
    return end;
  }

  /** The data of an inode as a field. */
  data(row: number): void {
    const { image } = this;
    const start = image.dataStart(row);
    if (start !== NONE) this.field(image.bytes, start, start + sizeOf(image, row));
    else this.field(image.data(row), 0, sizeOf(image, row));
  }

  /** What is not empty. A lone dash means "unset", and so the text "-" has to be escaped. */
  field(bytes: Uint8Array, from: number, to: number): void {
    this.reserve(LONGEST_ESCAPE * (to - from));
    if (to - from === 1 && bytes[from] === DASH) this.at = putEscape(this.out, this.at, DASH);
    else this.at = putEscaped(this.out, this.at, bytes, from, to, FIELD);
  }

  /** With room for the end of the line. */
  xattrs(row: number): void {
    for (const [key, value] of visibleXattrs(this.image, row)) {
      this.reserve(LONGEST_ESCAPE * (key.length + value.length) + 3);
      this.out[this.at++] = SPACE;
      this.at = putEscaped(this.out, this.at, fromByteString(key), 0, key.length, XATTR);
      this.out[this.at++] = EQUALS;
      this.at = putEscaped(this.out, this.at, value, 0, value.length, XATTR);
    }
  }

  /** What stands in the output already. */
  again(from: number, to: number): void {
    this.reserve(to - from);
    this.out.copyWithin(this.at, from, to);
    this.at += to - from;
  }

  /** Makes room for so many bytes. */
  reserve(size: number): void {
    if (this.at + size <= this.out.length) return;
    const longer = new Uint8Array(2 * this.out.length + size);
    longer.set(this.out);
    this.out = longer;
  }
}

/** The words of an inode that hold its numbers but for its size and a device's. */
const COMPACT_NUMBERS = [COMPACT.MODE, COMPACT.UID];
const EXTENDED_NUMBERS = [
  EXTENDED.MODE,
  EXTENDED.MTIME_NSEC,
  EXTENDED.MTIME,
  EXTENDED.NLINK,
  EXTENDED.UID,
  EXTENDED.GID,
  EXTENDED.MTIME + 4,
];

function numberFields({ inodes }: ErofsImage, row: number): readonly number[] {
  return ((inodes.format[row] as number) & FORMAT_EXTENDED) === 0 ? COMPACT_NUMBERS : EXTENDED_NUMBERS;
}

/** Below REMEMBERED. */
function numbersHash(image: ErofsImage, row: number): number {
  const { inodes, words } = image;
  const offset = inodes.offset[row] as number;
  const fields = numberFields(image, row);
  let hash = 0;
  for (let i = 0; i < fields.length; i++) {
    hash = Math.imul(hash ^ (words[(offset + (fields[i] as number)) >> 2] as number), 0x9e3779b1);
    hash ^= hash >>> 15;
  }
  return hash & (REMEMBERED - 1);
}

/** Whether two inodes have the same numbers but for their sizes. */
function sameNumbers(image: ErofsImage, a: number, b: number): boolean {
  const { inodes, words } = image;
  const fields = numberFields(image, a);
  if (fields !== numberFields(image, b) || inodes.isWhiteout[a] !== inodes.isWhiteout[b]) return false;
  const first = inodes.offset[a] as number;
  const second = inodes.offset[b] as number;
  for (let i = 0; i < fields.length; i++) {
    const field = fields[i] as number;
    if (words[(first + field) >> 2] !== words[(second + field) >> 2]) return false;
  }
  return visibleRdev(image, a) === visibleRdev(image, b);
}

function putNumbers(out: Uint8Array, start: number, image: ErofsImage, row: number): number {
  const time = mtimeAt(image, row);
  let at = putText(out, start, visibleMode(image, row).toString(8));
  out[at++] = SPACE;
  at = putNumber(out, at, nlinkOf(image, row));
  out[at++] = SPACE;
  at = putNumber(out, at, uidOf(image, row));
  out[at++] = SPACE;
  at = putNumber(out, at, gidOf(image, row));
  out[at++] = SPACE;
  at = putNumber(out, at, visibleRdev(image, row));
  out[at++] = SPACE;
  at = putText(out, at, `${secondsAt(image, time)}`);
  out[at++] = DOT;
  return putNumber(out, at, nanosecondsAt(image, time));
}

function putText(out: Uint8Array, start: number, text: string): number {
  for (let i = 0; i < text.length; i++) out[start + i] = text.charCodeAt(i);
  return start + text.length;
}

function putNumber(out: Uint8Array, start: number, value: number): number {
  let end = start + 1;
  for (let limit = 10; limit <= value; limit *= 10) end++;
  let rest = value;
  for (let at = end - 1; at >= start; at--) {
    const next = Math.floor(rest / 10);
    out[at] = ZERO + rest - 10 * next;
    rest = next;
  }
  return end;
}

/** By character: whether it stands for itself. */
function plainIn(isPlain: (code: number) => boolean): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, code) => (isPlain(code) ? 1 : 0));
}

const FIELD = plainIn((code) => code > 0x20 && code < 0x7f && code !== BACKSLASH);
const XATTR = plainIn((code) => FIELD[code] === 1 && code !== EQUALS);

/** The bytes from `from` up to `to`, those that do not stand for themselves as escapes. Returns the end. */
function putEscaped(
  out: Uint8Array,
  start: number,
  bytes: Uint8Array,
  from: number,
  to: number,
  plain: Uint8Array,
): number {
  let at = start;
  for (let i = from; i < to; i++) {
    const code = bytes[i] as number;
    if (plain[code] === 1) out[at++] = code;
    else at = putEscape(out, at, code);
  }
  return at;
}

const LETTERS: ReadonlyMap<number, number> = new Map([
  [BACKSLASH, BACKSLASH],
  [0x0a, 0x6e],
  [0x0d, 0x72],
  [0x09, 0x74],
]);

function putEscape(out: Uint8Array, start: number, code: number): number {
  const letter = LETTERS.get(code);
  out[start] = BACKSLASH;
  out[start + 1] = letter ?? LETTER_X;
  if (letter !== undefined) return start + 2;
  out[start + 2] = HEX_DIGITS[code >> 4] as number;
  out[start + 3] = HEX_DIGITS[code & 15] as number;
  return start + 4;
}

const HEX_DIGITS = fromByteString('0123456789abcdef' as ByteString);

function putHex(out: Uint8Array, start: number, bytes: Uint8Array, from: number, to: number): number {
  let at = start;
  for (let i = from; i < to; i++) {
    const code = bytes[i] as number;
    out[at] = HEX_DIGITS[code >> 4] as number;
    out[at + 1] = HEX_DIGITS[code & 15] as number;
    at += 2;
  }
  return at;
}

const UNPRINTABLE = /[^\x21-\x7e]|\\/;
const UNPRINTABLE_ALL = /[^\x21-\x7e]|\\/g;
const SHORT: Readonly<Record<string, string>> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/** As the fields of a dump are written: everything but printable ASCII as an escape. */
export function escapeField(text: string): string {
  if (!UNPRINTABLE.test(text)) return text;
  return text.replace(
    UNPRINTABLE_ALL,
    (char) => SHORT[char] ?? `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}

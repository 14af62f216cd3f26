/**
 * The fields of a line of a composefs dump, read as libcomposefs reads them: numbers by C's strtoull, text with its
 * escapes. Source: composefs-dump(5).
 */

import { type ByteString, printable, toByteString } from './encoding.ts';
import { direntType } from './erofs-layout.ts';
import { badInput, type SealrootError } from './errors.ts';
import { MAX_FILE_BYTES, NO_XATTRS, type NodeHead, S_IFBLK, S_IFCHR, S_IFMT } from './tree.ts';

/** The line that a field stands in. */
export interface Line {
  /** Counted from 1. */
  readonly line: number;
  /** A line without backslashes has nothing to unescape, and no NUL. */
  readonly hasEscapes: boolean;
  /** See DumpRules. */
  readonly strict: boolean;
}

export function malformed({ line }: Pick<Line, 'line'>, what: string, fact: string): SealrootError {
  return badInput('dump-malformed', `cannot read dump line ${line}: ${what} ${fact}`);
}

const MAX_U64 = 2n ** 64n - 1n;
/** The number that a few digits from `at` to `end` are, and nothing else; -1 for whatever needs a closer look. */
function plainNumber(text: string, at: number, end: number, base: 8 | 10): number {
  if (end <= at || end - at > 15) return -1;
  let value = 0;
  for (let i = at; i < end; i++) {
    const digit = text.charCodeAt(i) - 0x30;
    if (digit < 0 || digit >= base) return -1;
    value = value * base + digit;
  }
  return value;
}

const C_DECIMAL = /^[\t\n\v\f\r ]*([+-]?)([0-9]+)$/;
const C_OCTAL = /^[\t\n\v\f\r ]*([+-]?)([0-7]+)$/;

/** As C's strtoull does: a sign is allowed and wraps, an overflow saturates. */
function parseU64(line: Line, field: string, what: string, octal: boolean): bigint {
  const match = (octal ? C_OCTAL : C_DECIMAL).exec(field);
  if (match === null) throw malformed(line, what, `"${printable(field)}" is not a number`);
  const value = BigInt((octal ? '0o' : '') + match[2]);
  if (value > MAX_U64) return MAX_U64;
  return match[1] === '-' ? BigInt.asUintN(64, -value) : value;
}

/** Exact up to 2^53; every larger number comes out larger than that. The field is a part of `text`. */
export function parseSize(line: Line, text: string, at: number, end: number): number {
  const plain = plainNumber(text, at, end, 10);
  if (plain >= 0) return plain;
  const value = parseU64(line, text.slice(at, end), 'size', false);
  return value > BigInt(MAX_FILE_BYTES) ? 2 * MAX_FILE_BYTES : Number(value);
}

function parseU32(line: Line, field = '', what: string): number {
  const value = plainNumber(field, 0, field.length, 10);
  if (value >= 0 && value <= 0xffffffff) return value;
  return Number(BigInt.asUintN(32, parseU64(line, field, what, false)));
}

function parseMode(line: Line, field: string): number {
  const plain = plainNumber(field, 0, field.length, 8);
  const mode = plain >= 0 ? plain >>> 0 : Number(BigInt.asUintN(32, parseU64(line, field, 'mode', true)));
  if (direntType(mode) === 0) {
    throw malformed(line, 'mode', `"${printable(field)}" has no known file type`);
  }
  return mode;
}

function parseMtime(line: Line, field: string): [bigint, number] {
  const dot = field.indexOf('.');
  const sec = parseU64(line, dot < 0 ? field : field.slice(0, dot), 'mtime', false);
  return [BigInt.asIntN(64, sec), parseU32(line, dot < 0 ? '' : field.slice(dot + 1), 'mtime')];
}

/** The fields from mode to mtime, which most lines share with the one before them; for newNode(). */
export interface Head extends NodeHead {
  readonly isLink: boolean;
}

/** Of a link. */
export const NO_HEAD: Head = {
  mode: 0,
  isLink: false,
  uid: 0,
  gid: 0,
  rdev: 0,
  nlink: 1,
  size: 0,
  mtimeSec: 0n,
  mtimeNsec: 0,
  xattrs: NO_XATTRS,
};

export function parseHead(line: Line, text: string): Head {
  const [modeField = '', nlink, uid, gid, rdevField, mtime = ''] = text.split(' ');
  const isLink = modeField.startsWith('@');
  const mode = parseMode(line, isLink ? modeField.slice(1) : modeField);
  // Of a link only the target counts.
  if (isLink) return { ...NO_HEAD, mode, isLink };
  const [mtimeSec, mtimeNsec] = parseMtime(line, mtime);
  const rdev = parseU32(line, rdevField, 'device number');
  const type = mode & S_IFMT;
  const isDevice = type === S_IFCHR || type === S_IFBLK;
  if (line.strict && !isDevice) {
    // All 64 bits count here, of a device number the lower 32.
    const number = parseU64(line, rdevField ?? '', 'device number', false);
    if (number !== 0n) throw malformed(line, 'device number', `is ${number} in what is no device`);
  }
  return {
    mode,
    isLink,
    uid: parseU32(line, uid, 'uid'),
    gid: parseU32(line, gid, 'gid'),
    rdev: isDevice ? rdev : 0,
    nlink: parseU32(line, nlink, 'nlink'),
    size: 0,
    mtimeSec,
    mtimeNsec,
    xattrs: NO_XATTRS,
  };
}

/** Of each character code below 128 its value as a hex digit, or 255. */
const HEX_VALUES = Uint8Array.from({ length: 128 }, (_, code) => {
  const value = Number.parseInt(String.fromCharCode(code), 16);
  return Number.isNaN(value) ? 255 : value;
});

/** Of the longest digest; made once. */
const digestBytes = new Uint8Array(64);

/** The field is a part of `text`. */
export function parseDigest(line: Line, text: string, at: number, end: number): ByteString {
  const size = end - at === 128 ? 64 : 32;
  let bad = end - at === 2 * size ? 0 : 255;
  for (let i = 0, from = at; i < size; i++, from += 2) {
    const high = HEX_VALUES[text.charCodeAt(from)] ?? 255;
    const low = HEX_VALUES[text.charCodeAt(from + 1)] ?? 255;
    bad |= high | low;
    digestBytes[i] = high * 16 + low;
  }
  if (bad > 15) {
    throw malformed(line, 'digest', `"${printable(text.slice(at, end))}" is neither 64 nor 128 hex digits`);
  }
  return toByteString(digestBytes, 0, size);
}

export function cutAtNul(line: Line, text: string): ByteString {
  if (!line.hasEscapes) return text as ByteString;
  const nul = text.indexOf('\0');
  return (nul < 0 ? text : text.slice(0, nul)) as ByteString;
}

/** Of the letter behind a backslash, the character that both stand for. */
const ESCAPES: ReadonlyMap<number, number> = new Map(
  ['\\\\', 'n\n', 'r\r', 't\t'].map((pair) => [pair.charCodeAt(0), pair.charCodeAt(1)]),
);
const BACKSLASH = 0x5c;
const LETTER_X = 0x78;

export function unescapeField(line: Line, field: string, what: string): ByteString {
  if (!line.hasEscapes || !field.includes('\\')) return field as ByteString;
  return toByteString(unescapeBytes(line, field, 0, field.length, what));
}

/** The field is a part of `text`. */
export function unescapeBytes(line: Line, text: string, at: number, end: number, what: string): Uint8Array {
  const out = new Uint8Array(unescapedLength(text, at, end));
  let from = at;
  for (let i = 0; i < out.length; i++) {
    const code = text.charCodeAt(from);
    if (code !== BACKSLASH) {
      out[i] = code;
      from++;
    } else if (isHexEscape(text, from, end)) {
      const high = HEX_VALUES[text.charCodeAt(from + 2)] ?? 255;
      const low = HEX_VALUES[text.charCodeAt(from + 3)] ?? 255;
      if ((high | low) > 15) throw unknownEscape(line, text, from, end, what);
      out[i] = high * 16 + low;
      from += 4;
    } else {
      const char = from + 1 < end ? ESCAPES.get(text.charCodeAt(from + 1)) : undefined;
      if (char === undefined) throw unknownEscape(line, text, from, end, what);
      out[i] = char;
      from += 2;
    }
  }
  if (from < end) throw unknownEscape(line, text, from, end, what);
  return out;
}

function isHexEscape(text: string, at: number, end: number): boolean {
  return at + 4 <= end && text.charCodeAt(at + 1) === LETTER_X;
}

/** If all of its escapes are known; else at most that. */
function unescapedLength(text: string, at: number, end: number): number {
  let length = end - at;
  for (let from = text.indexOf('\\', at); from >= 0 && from < end; ) {
    const added = isHexEscape(text, from, end) ? 3 : 1;
    length -= added;
    from = text.indexOf('\\', from + added + 1);
  }
  return length;
}

function unknownEscape(line: Line, text: string, at: number, end: number, what: string): SealrootError {
  const letter = text.slice(at + 1, Math.min(at + 2, end));
  return malformed(line, what, `has the unknown escape "\\${printable(letter)}"`);
}

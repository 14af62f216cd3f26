/**
 * The fields of a line of a composefs dump, read as libcomposefs reads them: numbers by C's strtoull, text with its
 * escapes. Source: composefs-dump(5).
 */

import { type ByteString, printable, toByteString } from './encoding.ts';
import { direntType } from './erofs-layout.ts';
import { badInput, type SealrootError } from './errors.ts';
import { MAX_FILE_BYTES, type NodeHead, S_IFBLK, S_IFCHR, S_IFMT } from './tree.ts';

/** The line that a field stands in. Fields are given by their places in these bytes, from `at` to before `end`. */
export interface Line {
  readonly dump: Uint8Array;
  /** Counted from 1. */
  readonly line: number;
  /** False: no field so far has a backslash, so that there is nothing to unescape, and no NUL. */
  readonly hasEscapes: boolean;
  /** See DumpRules. */
  readonly strict: boolean;
}

export function malformed({ line }: Pick<Line, 'line'>, what: string, fact: string): SealrootError {
  return badInput('dump-malformed', `cannot read dump line ${line}: ${what} ${fact}`);
}

const MAX_U64 = 2n ** 64n - 1n;

/** The number that a few digits are, and nothing else; -1 for whatever needs a closer look. */
function plainNumber({ dump }: Line, at: number, end: number, base: 8 | 10): number {
  if (end <= at || end - at > 15) return -1;
  let value = 0;
  for (let i = at; i < end; i++) {
    const digit = (dump[i] as number) - 0x30;
    if (digit < 0 || digit >= base) return -1;
    value = value * base + digit;
  }
  return value;
}

const C_DECIMAL = /^[\t\n\v\f\r ]*([+-]?)([0-9]+)$/;
const C_OCTAL = /^[\t\n\v\f\r ]*([+-]?)([0-7]+)$/;

/** As C's strtoull does: a sign is allowed and wraps, an overflow saturates. */
function parseU64(line: Line, at: number, end: number, what: string, base: 8 | 10 = 10): bigint {
  const field = toByteString(line.dump, at, end);
  const match = (base === 8 ? C_OCTAL : C_DECIMAL).exec(field);
  if (match === null) throw malformed(line, what, `"${printable(field)}" is not a number`);
  const value = BigInt((base === 8 ? '0o' : '') + match[2]);
  if (value > MAX_U64) return MAX_U64;
  return match[1] === '-' ? BigInt.asUintN(64, -value) : value;
}

/** Exact up to 2^53; every larger number comes out larger than that. */
export function parseSize(line: Line, at: number, end: number): number {
  const plain = plainNumber(line, at, end, 10);
  if (plain >= 0) return plain;
  const value = parseU64(line, at, end, 'size');
  return value > BigInt(MAX_FILE_BYTES) ? 2 * MAX_FILE_BYTES : Number(value);
}

function parseU32(line: Line, at: number, end: number, what: string, base: 8 | 10 = 10): number {
  const plain = plainNumber(line, at, end, base);
  if (plain >= 0 && plain <= 0xffffffff) return plain;
  return Number(BigInt.asUintN(32, parseU64(line, at, end, what, base)));
}

function parseMode(line: Line, at: number, end: number): number {
  const mode = parseU32(line, at, end, 'mode', 8);
  if (direntType(mode) === 0) {
    throw malformed(line, 'mode', `"${printable(toByteString(line.dump, at, end))}" has no known file type`);
  }
  return mode;
}

const POINT = 0x2e;

/** Sets the time: seconds, and nanoseconds behind a point. */
export function parseMtime(line: Line, at: number, end: number, head: NodeHead): void {
  let point = at;
  while (point < end && line.dump[point] !== POINT) point++;
  const seconds = plainNumber(line, at, point, 10);
  head.mtimeSec = seconds >= 0 ? BigInt(seconds) : BigInt.asIntN(64, parseU64(line, at, point, 'mtime'));
  head.mtimeNsec = parseU32(line, point + 1, end, 'mtime');
}

/** The fields from mode to device number. */
export interface Owner {
  readonly isLink: boolean;
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly rdev: number;
}

const LINK_SIGN = 0x40;

/** Each of the fields ends where `ends` says. Of a link only the target counts, and the type. */
export function parseOwner(line: Line, at: number, ends: readonly number[]): Owner {
  const [modeEnd = at, nlinkEnd = at, uidEnd = at, gidEnd = at, rdevEnd = at] = ends;
  const isLink = at < modeEnd && line.dump[at] === LINK_SIGN;
  const mode = parseMode(line, isLink ? at + 1 : at, modeEnd);
  if (isLink) return { isLink, mode, nlink: 1, uid: 0, gid: 0, rdev: 0 };
  const rdev = parseU32(line, gidEnd + 1, rdevEnd, 'device number');
  const type = mode & S_IFMT;
  const isDevice = type === S_IFCHR || type === S_IFBLK;
  if (line.strict && !isDevice) {
    // All 64 bits count here, of a device number the lower 32.
    const number = parseU64(line, gidEnd + 1, rdevEnd, 'device number');
    if (number !== 0n) throw malformed(line, 'device number', `is ${number} in what is no device`);
  }
  return {
    isLink,
    mode,
    nlink: parseU32(line, modeEnd + 1, nlinkEnd, 'nlink'),
    uid: parseU32(line, nlinkEnd + 1, uidEnd, 'uid'),
    gid: parseU32(line, uidEnd + 1, gidEnd, 'gid'),
    rdev: isDevice ? rdev : 0,
  };
}

/** Of each byte its value as a hex digit, or 255. */
const HEX_VALUES = Uint8Array.from({ length: 256 }, (_, code) => {
  const value = Number.parseInt(String.fromCharCode(code), 16);
  return Number.isNaN(value) ? 255 : value;
});

function hexValue(dump: Uint8Array, at: number): number {
  return HEX_VALUES[dump[at] ?? 0] as number;
}

/** Of the longest digest; made once. */
const digestBytes = new Uint8Array(64);

export function parseDigest(line: Line, at: number, end: number): ByteString {
  const { dump } = line;
  const size = end - at === 128 ? 64 : 32;
  let bad = end - at === 2 * size ? 0 : 255;
  for (let i = 0, from = at; i < size; i++, from += 2) {
    const high = hexValue(dump, from);
    const low = hexValue(dump, from + 1);
    bad |= high | low;
    digestBytes[i] = high * 16 + low;
  }
  if (bad > 15) {
    const digits = printable(toByteString(dump, at, end));
    throw malformed(line, 'digest', `"${digits}" is neither 64 nor 128 hex digits`);
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

export function unescapeField(line: Line, at: number, end: number, what: string): ByteString {
  return line.hasEscapes
    ? toByteString(unescapeBytes(line, at, end, what))
    : toByteString(line.dump, at, end);
}

export function unescapeBytes(line: Line, at: number, end: number, what: string): Uint8Array {
  const { dump } = line;
  const out = new Uint8Array(unescapedLength(dump, at, end));
  let from = at;
  for (let i = 0; i < out.length; i++) {
    const byte = dump[from] as number;
    if (byte !== BACKSLASH) {
      out[i] = byte;
      from++;
    } else if (isHexEscape(dump, from, end)) {
      const high = hexValue(dump, from + 2);
      const low = hexValue(dump, from + 3);
      if ((high | low) > 15) throw unknownEscape(line, from, end, what);
      out[i] = high * 16 + low;
      from += 4;
    } else {
      const char = from + 1 < end ? ESCAPES.get(dump[from + 1] as number) : undefined;
      if (char === undefined) throw unknownEscape(line, from, end, what);
      out[i] = char;
      from += 2;
    }
  }
  if (from < end) throw unknownEscape(line, from, end, what);
  return out;
}

function isHexEscape(dump: Uint8Array, at: number, end: number): boolean {
  return at + 4 <= end && dump[at + 1] === LETTER_X;
}

/** If all of its escapes are known; else at most that. */
function unescapedLength(dump: Uint8Array, at: number, end: number): number {
  let length = 0;
  for (let from = at; from < end; length++) {
    if (dump[from] !== BACKSLASH) from++;
    else from += isHexEscape(dump, from, end) ? 4 : 2;
  }
  return length;
}

function unknownEscape(line: Line, at: number, end: number, what: string): SealrootError {
  const letter = toByteString(line.dump, at + 1, Math.min(at + 2, end));
  return malformed(line, what, `has the unknown escape "\\${printable(letter)}"`);
}

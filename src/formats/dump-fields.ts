/**
 * The fields of a line of a composefs dump, read as libcomposefs reads them: numbers by C's strtoull, text with its
 * escapes. Source: composefs-dump(5).
 */

import { type ByteString, printable } from './encoding.ts';
import { direntType } from './erofs-layout.ts';
import { badInput, type SealrootError } from './errors.ts';
import { MAX_FILE_BYTES } from './tree.ts';

/** The line that a field stands in. */
export interface Line {
  /** Counted from 1. */
  readonly line: number;
  /** A line without backslashes has nothing to unescape, and no NUL. */
  readonly hasEscapes: boolean;
}

export function malformed({ line }: Pick<Line, 'line'>, what: string, fact: string): SealrootError {
  return badInput('dump-malformed', `cannot read dump line ${line}: ${what} ${fact}`);
}

const MAX_U64 = 2n ** 64n - 1n;
/** The number that a few digits are, and nothing else; -1 for whatever needs a closer look. */
function plainNumber(field: string, base: 8 | 10): number {
  if (field.length === 0 || field.length > 15) return -1;
  let value = 0;
  for (let i = 0; i < field.length; i++) {
    const digit = field.charCodeAt(i) - 0x30;
    if (digit < 0 || digit >= base) return -1;
    value = value * base + digit;
  }
  return value;
}

const C_DECIMAL = /^[\t\n\v\f\r ]*([+-]?)([0-9]+)$/;
const C_OCTAL = /^[\t\n\v\f\r ]*([+-]?)([0-7]+)$/;

/** As C's strtoull does: a sign is allowed and wraps, an overflow saturates. */
export function parseU64(line: Line, field: string, what: string, octal: boolean): bigint {
  const match = (octal ? C_OCTAL : C_DECIMAL).exec(field);
  if (match === null) throw malformed(line, what, `"${printable(field)}" is not a number`);
  const value = BigInt((octal ? '0o' : '') + match[2]);
  if (value > MAX_U64) return MAX_U64;
  return match[1] === '-' ? BigInt.asUintN(64, -value) : value;
}

/** Exact up to 2^53; every larger number comes out larger than that. */
export function parseSize(line: Line, field: string): number {
  const plain = plainNumber(field, 10);
  if (plain >= 0) return plain;
  const value = parseU64(line, field, 'size', false);
  return value > BigInt(MAX_FILE_BYTES) ? 2 * MAX_FILE_BYTES : Number(value);
}

export function parseU32(line: Line, field = '', what: string): number {
  const value = plainNumber(field, 10);
  if (value >= 0 && value <= 0xffffffff) return value;
  return Number(BigInt.asUintN(32, parseU64(line, field, what, false)));
}

export function parseMode(line: Line, field: string): number {
  const plain = plainNumber(field, 8);
  const mode = plain >= 0 ? plain % 2 ** 32 : Number(BigInt.asUintN(32, parseU64(line, field, 'mode', true)));
  if (direntType(mode) === 0) {
    throw malformed(line, 'mode', `"${printable(field)}" has no known file type`);
  }
  return mode;
}

export function parseMtime(line: Line, field: string): [bigint, number] {
  const dot = field.indexOf('.');
  const sec = parseU64(line, dot < 0 ? field : field.slice(0, dot), 'mtime', false);
  return [BigInt.asIntN(64, sec), parseU32(line, dot < 0 ? '' : field.slice(dot + 1), 'mtime')];
}

/** Of each character code below 128 its value as a hex digit, or 255. */
const HEX_VALUES = Uint8Array.from({ length: 128 }, (_, code) => {
  const value = Number.parseInt(String.fromCharCode(code), 16);
  return Number.isNaN(value) ? 255 : value;
});

export function parseDigest(line: Line, field: string): Uint8Array {
  const out = new Uint8Array(field.length / 2);
  let bad = field.length !== 64 && field.length !== 128 ? 255 : 0;
  for (let i = 0; i < out.length; i++) {
    const high = HEX_VALUES[field.charCodeAt(2 * i)] ?? 255;
    const low = HEX_VALUES[field.charCodeAt(2 * i + 1)] ?? 255;
    bad |= high | low;
    out[i] = high * 16 + low;
  }
  if (bad > 15) {
    throw malformed(line, 'digest', `"${printable(field)}" is neither 64 nor 128 hex digits`);
  }
  return out;
}

export function optional(line: Line, field: string, what: string): ByteString | undefined {
  return field === '-' ? undefined : unescapeField(line, field, what);
}

export function cutAtNul(line: Line, text: string): ByteString {
  if (!line.hasEscapes) return text as ByteString;
  const nul = text.indexOf('\0');
  return (nul < 0 ? text : text.slice(0, nul)) as ByteString;
}

const LETTERS: Readonly<Record<string, string>> = { '\\': '\\', n: '\n', r: '\r', t: '\t' };

export function unescapeField(line: Line, field: string, what: string): ByteString {
  let at = line.hasEscapes ? field.indexOf('\\') : -1;
  if (at < 0) return field as ByteString;
  let out = '';
  let from = 0;
  while (at >= 0) {
    out += field.slice(from, at);
    const letter = field.charAt(at + 1);
    const high = HEX_VALUES[field.charCodeAt(at + 2)] ?? 255;
    const low = HEX_VALUES[field.charCodeAt(at + 3)] ?? 255;
    if (letter === 'x' && (high | low) < 16) {
      out += String.fromCharCode(high * 16 + low);
      from = at + 4;
    } else {
      const char = LETTERS[letter];
      if (char === undefined) throw malformed(line, what, `has the unknown escape "\\${printable(letter)}"`);
      out += char;
      from = at + 2;
    }
    at = field.indexOf('\\', from);
  }
  return (out + field.slice(from)) as ByteString;
}

/**
 * Byte strings, hex, strict base64 and the printable form of names.
 *
 * A byte string is a JavaScript string whose characters are U+0000..U+00FF, one per byte. Linux names, link
 * targets and xattr names are bytes and need not be UTF-8; as byte strings they compare and sort in byte order
 * with `<`, work as Map keys, and pass through QuickJS unchanged. They are decoded only where something is printed.
 */

import { badInput } from './errors.ts';

declare const byteStringBrand: unique symbol;
export type ByteString = string & { readonly [byteStringBrand]: true };

const CHUNK = 4096;

/** One character per byte. */
export function toByteString(bytes: Uint8Array): ByteString {
  let out = '';
  for (let i = 0; i < bytes.length; i += CHUNK) {
    // apply() takes the array as it is; spreading it is six times slower on megabytes.
    out += String.fromCharCode.apply(null, bytes.subarray(i, i + CHUNK) as unknown as number[]);
  }
  return out as ByteString;
}

/** One byte per character. The caller guarantees a byte string; higher characters would be cut. */
export function fromByteString(text: ByteString): Uint8Array {
  const out = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) out[i] = text.charCodeAt(i);
  return out;
}

/** An ASCII literal as a byte string. Throws on anything else, so that no UTF-16 text slips in. */
export function ascii(text: string): ByteString {
  for (let i = 0; i < text.length; i++) {
    if (text.charCodeAt(i) > 0x7f) throw badInput('not-ascii', `cannot use "${text}" as ASCII text`);
  }
  return text as ByteString;
}

const HEX = '0123456789abcdef';
/** Bytes that one call makes text of: a checksum. */
const HEX_CHUNK = 32;
/** An array, of which apply() makes text twice as fast as of a Uint8Array. */
const hexCodes: number[] = new Array(2 * HEX_CHUNK).fill(0);
const HEX_CODES = Uint8Array.from({ length: 16 }, (_, i) => HEX.charCodeAt(i));

/** Lower-case hex, two digits per byte. */
export function hex(bytes: Uint8Array): string {
  let out = '';
  // Character codes, not concatenation: that leaves a rope of 64 pieces per digest, ten times as slow in V8.
  for (let start = 0; start < bytes.length; start += HEX_CHUNK) {
    const count = Math.min(bytes.length - start, HEX_CHUNK);
    for (let i = 0; i < count; i++) {
      const byte = bytes[start + i] ?? 0;
      hexCodes[2 * i] = HEX_CODES[byte >> 4] ?? 0;
      hexCodes[2 * i + 1] = HEX_CODES[byte & 15] ?? 0;
    }
    const codes = count === HEX_CHUNK ? hexCodes : hexCodes.slice(0, 2 * count);
    out += String.fromCharCode.apply(null, codes);
  }
  return out;
}

/** Lower-case hex only; `what` names the value in the error. */
export function parseHex(text: string, what: string): Uint8Array {
  const out = new Uint8Array(text.length >> 1);
  for (let i = 0; i < out.length; i++) {
    const high = HEX.indexOf(text.charAt(2 * i));
    const low = HEX.indexOf(text.charAt(2 * i + 1));
    if (high < 0 || low < 0) throw badInput('hex-malformed', `cannot read ${what}: not lower-case hex`);
    out[i] = high * 16 + low;
  }
  if (text.length % 2 !== 0) throw badInput('hex-malformed', `cannot read ${what}: odd number of hex digits`);
  return out;
}

/** True for 64 lower-case hex digits: an ostree checksum. */
export function isChecksum(text: string): boolean {
  if (text.length !== 64) return false;
  for (let i = 0; i < 64; i++) {
    const code = text.charCodeAt(i);
    if (!((code >= 0x30 && code <= 0x39) || (code >= 0x61 && code <= 0x66))) return false;
  }
  return true;
}

const BASE64 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

/** RFC 4648 section 4, with padding, no line breaks. */
export function base64(bytes: Uint8Array): string {
  let out = '';
  for (let i = 0; i < bytes.length; i += 3) {
    const b0 = bytes[i] ?? 0;
    const b1 = bytes[i + 1] ?? 0;
    const b2 = bytes[i + 2] ?? 0;
    out += BASE64.charAt(b0 >> 2) + BASE64.charAt(((b0 & 3) << 4) | (b1 >> 4));
    out += i + 1 < bytes.length ? BASE64.charAt(((b1 & 15) << 2) | (b2 >> 6)) : '=';
    out += i + 2 < bytes.length ? BASE64.charAt(b2 & 63) : '=';
  }
  return out;
}

/** The only accepted form is the one that `base64()` writes: padded, no white space, unused bits zero. */
export function parseBase64(text: string, what: string): Uint8Array {
  const body = text.endsWith('==') ? text.length - 2 : text.endsWith('=') ? text.length - 1 : text.length;
  const out = new Uint8Array(Math.floor((body * 3) / 4));
  let bits = 0;
  let pending = 0;
  let at = 0;
  for (let i = 0; i < body; i++) {
    const value = BASE64.indexOf(text.charAt(i));
    if (value < 0) throw badInput('base64-malformed', `cannot read ${what}: not base64 at character ${i}`);
    pending = ((pending << 6) | value) & 0xfff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      out[at++] = (pending >> bits) & 0xff;
    }
  }
  if (text.length % 4 !== 0 || base64(out) !== text) {
    throw badInput('base64-malformed', `cannot read ${what}: not canonical base64`);
  }
  return out;
}

/** For messages: printable ASCII as it is, everything else (quotes, backslash too) as \xHH; cut after 200 bytes. */
export function printable(text: string): string {
  const shown = text.length > MAX_PRINTED ? text.slice(0, MAX_PRINTED) : text;
  let at = plainEnd(shown, 0);
  // Most are plain, and messages are put together for every system call that could fail.
  if (at === text.length) return text;
  let out = shown.slice(0, at);
  while (at < shown.length) {
    const end = plainEnd(shown, at + 1);
    out += escapeByte(shown.charCodeAt(at)) + shown.slice(at + 1, end);
    at = end;
  }
  return text.length > MAX_PRINTED ? `${out}...` : out;
}

const MAX_PRINTED = 200;

/** Where the characters that are printed as they are end. */
function plainEnd(text: string, from: number): number {
  for (let at = from; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code <= 0x20 || code >= 0x7f || code === 0x5c || code === 0x22) return at;
  }
  return text.length;
}

function escapeByte(code: number): string {
  return code > 0xff ? '?' : `\\x${HEX.charAt(code >> 4)}${HEX.charAt(code & 15)}`;
}

/** UTF-8 bytes of text written by us (messages, base64, hex). Lone surrogates become U+FFFD. */
export function utf8(text: string): Uint8Array {
  const out: number[] = [];
  for (const char of text) {
    let code = char.codePointAt(0) ?? 0;
    if (code >= 0xd800 && code <= 0xdfff) code = 0xfffd;
    if (code < 0x80) out.push(code);
    else if (code < 0x800) out.push(0xc0 | (code >> 6), 0x80 | (code & 63));
    else if (code < 0x10000) out.push(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
    else {
      out.push(
        0xf0 | (code >> 18),
        0x80 | ((code >> 12) & 63),
        0x80 | ((code >> 6) & 63),
        0x80 | (code & 63),
      );
    }
  }
  return new Uint8Array(out);
}

/** Strict UTF-8, as GLib requires of text: no overlong forms, no surrogates, nothing above U+10FFFF. */
export function isUtf8(bytes: Uint8Array): boolean {
  let at = 0;
  while (at < bytes.length) {
    const first = bytes[at++] ?? 0;
    if (first < 0x80) continue;
    const more = first >= 0xc2 && first <= 0xdf ? 1 : first >= 0xe0 && first <= 0xef ? 2 : 3;
    if (more === 3 && (first < 0xf0 || first > 0xf4)) return false;
    const second = bytes[at] ?? 0;
    if (first === 0xe0 && second < 0xa0) return false;
    if (first === 0xed && second > 0x9f) return false;
    if (first === 0xf0 && second < 0x90) return false;
    if (first === 0xf4 && second > 0x8f) return false;
    for (let i = 0; i < more; i++) if (((bytes[at++] ?? 0) & 0xc0) !== 0x80) return false;
  }
  return true;
}

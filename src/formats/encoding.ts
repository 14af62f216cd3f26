/**
 * Hex, strict base64 and the printable form of names; what byte strings are says byte-strings.ts.
 */

import { type ByteString, isPlain } from './byte-strings.ts';
import { badInput } from './errors.ts';

export { type ByteString, fromByteString, hex, toByteString, utf8String } from './byte-strings.ts';

/** An ASCII literal as a byte string. Throws on anything else, so that no UTF-16 text slips in. */
export function ascii(text: string): ByteString {
  for (let i = 0; i < text.length; i++) {
    if (text.charCodeAt(i) > 0x7f) throw badInput('not-ascii', `cannot use "${text}" as ASCII text`);
  }
  return text as ByteString;
}

const HEX = '0123456789abcdef';
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
  // Most are plain, and messages are put together for every system call that could fail.
  if (text.length <= MAX_PRINTED && isPlain(text)) return text;
  let out = '';
  for (let i = 0; i < Math.min(text.length, MAX_PRINTED); i++) {
    const char = text.charAt(i);
    out += isPlain(char) ? char : escapeByte(char.charCodeAt(0));
  }
  return text.length > MAX_PRINTED ? `${out}...` : out;
}

const MAX_PRINTED = 200;

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

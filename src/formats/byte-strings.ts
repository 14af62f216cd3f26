/**
 * Byte strings, and the loops over single bytes that thousands of names and checksums go through.
 *
 * A byte string is a JavaScript string whose characters are U+0000..U+00FF, one per byte. Linux names, link
 * targets and xattr names are bytes and need not be UTF-8; as byte strings they compare and sort in byte order
 * with `<`, work as Map keys, and pass through QuickJS unchanged. They are decoded only where something is printed.
 *
 * In the initramfs the functions of this module are C (initrd/runtime/bytes.c), which the build puts in their place: of
 * the bytecode that building an image ran there, two thirds were these loops. In the command line they are those of
 * Node.js (src/adapters/byte-strings.ts).
 */

declare const byteStringBrand: unique symbol;
export type ByteString = string & { readonly [byteStringBrand]: true };

const CHUNK = 4096;

/** One character per byte, of those from `start` to `end`, which the caller guarantees to be there. */
export function toByteString(bytes: Uint8Array, start = 0, end = bytes.length): ByteString {
  let out = '';
  for (let i = start; i < end; i += CHUNK) {
    const part = bytes.subarray(i, Math.min(i + CHUNK, end));
    // apply() takes the array as it is; spreading it is six times slower on megabytes.
    out += String.fromCharCode.apply(null, part as unknown as number[]);
  }
  return out as ByteString;
}

/** The same, of bytes that are strict UTF-8, as GLib requires of text; undefined for others. */
export function utf8String(bytes: Uint8Array, start = 0, end = bytes.length): ByteString | undefined {
  return isUtf8(bytes, start, end) ? toByteString(bytes, start, end) : undefined;
}

/** One byte per character. The caller guarantees a byte string. */
export function fromByteString(text: ByteString): Uint8Array {
  const out = new Uint8Array(text.length);
  putBytes(out, 0, text);
  return out;
}

/** One byte per character, from `at`. The caller guarantees a byte string, and room for it. */
export function putBytes(out: Uint8Array, at: number, text: ByteString): void {
  for (let i = 0; i < text.length; i++) out[at + i] = text.charCodeAt(i);
}

/** Bytes that one call makes text of: a checksum. */
const HEX_CHUNK = 32;
/** An array, of which apply() makes text twice as fast as of a Uint8Array. */
const hexCodes: number[] = new Array(2 * HEX_CHUNK).fill(0);
const HEX_CODES = Uint8Array.from({ length: 16 }, (_, i) => '0123456789abcdef'.charCodeAt(i));

/** Lower-case hex, two digits per byte, of those from `start` to `end`, which the caller guarantees to be there. */
export function hex(bytes: Uint8Array, start = 0, end = bytes.length): string {
  let out = '';
  // Character codes, not concatenation: that leaves a rope of 64 pieces per digest, ten times as slow in V8.
  for (let at = start; at < end; at += HEX_CHUNK) {
    const count = Math.min(end - at, HEX_CHUNK);
    for (let i = 0; i < count; i++) {
      const byte = bytes[at + i] ?? 0;
      hexCodes[2 * i] = HEX_CODES[byte >> 4] ?? 0;
      hexCodes[2 * i + 1] = HEX_CODES[byte & 15] ?? 0;
    }
    const codes = count === HEX_CHUNK ? hexCodes : hexCodes.slice(0, 2 * count);
    out += String.fromCharCode.apply(null, codes);
  }
  return out;
}

/** No overlong forms, no surrogates, nothing above U+10FFFF. */
function isUtf8(bytes: Uint8Array, start: number, end: number): boolean {
  let at = start;
  while (at < end) {
    const first = bytes[at++] ?? 0;
    if (first < 0x80) continue;
    const more = first >= 0xc2 && first <= 0xdf ? 1 : first >= 0xe0 && first <= 0xef ? 2 : 3;
    if (more === 3 && (first < 0xf0 || first > 0xf4)) return false;
    const second = bytes[at] ?? 0;
    if (first === 0xe0 && second < 0xa0) return false;
    if (first === 0xed && second > 0x9f) return false;
    if (first === 0xf0 && second < 0x90) return false;
    if (first === 0xf4 && second > 0x8f) return false;
    if (end - at < more) return false;
    for (let i = 0; i < more; i++) if (((bytes[at++] ?? 0) & 0xc0) !== 0x80) return false;
  }
  return true;
}

/** Whether all characters are printed as they are: ASCII but for controls, space, quote and backslash. */
export function isPlain(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code <= 0x20 || code >= 0x7f || code === 0x5c || code === 0x22) return false;
  }
  return true;
}

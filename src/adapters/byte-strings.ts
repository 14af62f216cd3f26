/**
 * Stands in the place of formats/byte-strings.ts in the bundled programs (tools/bundle.ts): the same functions, from
 * Node.js, of which the loops over bytes are compiled ones from the start.
 */

import { isUtf8 } from 'node:buffer';
import { type ByteString, isPlain } from '../formats/byte-strings.ts';

export { type ByteString, isPlain };

/** What `toString` and `write` of a Buffer call; they work on every Uint8Array. Not in its documentation. */
interface Methods {
  latin1Slice(this: Uint8Array, start: number, end: number): string;
  hexSlice(this: Uint8Array, start: number, end: number): string;
  latin1Write(this: Uint8Array, text: string, at: number, length: number): number;
}
const { latin1Slice, hexSlice, latin1Write } = Buffer.prototype as unknown as Methods;

export function toByteString(bytes: Uint8Array, start = 0, end = bytes.length): ByteString {
  return latin1Slice.call(bytes, start, end) as ByteString;
}

const ASCII = /^[\0-\x7f]*$/;

export function utf8String(bytes: Uint8Array, start = 0, end = bytes.length): ByteString | undefined {
  const text = toByteString(bytes, start, end);
  return ASCII.test(text) || isUtf8(bytes.subarray(start, end)) ? text : undefined;
}

export function fromByteString(text: ByteString): Uint8Array {
  const out = new Uint8Array(text.length);
  latin1Write.call(out, text, 0, text.length);
  return out;
}

export function putBytes(out: Uint8Array, at: number, text: ByteString): void {
  latin1Write.call(out, text, at, text.length);
}

export function hex(bytes: Uint8Array, start = 0, end = bytes.length): string {
  return hexSlice.call(bytes, start, end);
}

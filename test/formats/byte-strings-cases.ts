/** Random inputs for the functions of byte-strings.ts, and what they make of them: the same under every engine. */

import {
  type ByteString,
  fromByteString,
  hex,
  isPlain,
  putBytes,
  toByteString,
  utf8String,
} from '../../src/formats/byte-strings.ts';
import { ByteReader } from '../../src/formats/bytes.ts';

/** The lengths around what is made in one piece: digests, 4096 characters, small blocks of the allocator. */
const LENGTHS = [0, 1, 2, 3, 5, 31, 32, 33, 64, 255, 2040, 4095, 4096, 4097, 9000];
/** Bytes that begin, continue and end sequences of UTF-8, and the bounds of what is plain. */
const EDGES = [
  0, 0x20, 0x21, 0x22, 0x41, 0x5c, 0x7e, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf,
  0xe0, 0xed, 0xef, 0xf0, 0xf4, 0xf5, 0xff,
];

/** Numerical Recipes' generator: the same numbers everywhere. */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** One line for each case. */
export function* judgements(): Generator<string> {
  const random = randomNumbers(1);
  const kinds = [
    () => random(256),
    () => 0x21 + random(0x5e),
    () => EDGES[random(EDGES.length)] ?? 0,
    () => (random(8) === 0 ? (EDGES[random(EDGES.length)] ?? 0) : 0x61),
  ];
  for (let at = 0; at < 6000; at++) {
    const length = at % 20 === 0 ? (LENGTHS[random(LENGTHS.length)] ?? 0) : random(12);
    const kind = kinds[at % kinds.length] as () => number;
    // In the middle of a larger buffer, so that what is read or written beside it shows.
    const whole = Uint8Array.from({ length: length + 8 }, kind);
    yield judged(whole.subarray(3, 3 + length), whole);
  }
}

function judged(bytes: Uint8Array, whole: Uint8Array): string {
  const text = toByteString(bytes);
  const back = fromByteString(text);
  const out = new Uint8Array(whole.length);
  putBytes(out, 5, text);
  const sums = [back, out, whole].map(checksum).join(' ');
  const all = `${hex(bytes)} ${text.length} ${codesOf(text)} ${codesOf(utf8String(bytes))}`;
  // Of a part, too.
  const end = bytes.length - (bytes.length % 3);
  const start = Math.min(1, end);
  const part = `${hex(bytes, start, end)} ${codesOf(toByteString(bytes, start, end))}`;
  return `${all} ${sums} ${isPlain(text)} ${part} ${codesOf(utf8String(bytes, start, end))}`;
}

function checksum(bytes: Uint8Array): number {
  return bytes.reduce((sum, byte) => (Math.imul(sum, 31) + byte) | 0, bytes.length);
}

function codesOf(text: ByteString | undefined): number | string {
  if (text === undefined) return 'none';
  let sum = 0;
  for (let i = 0; i < text.length; i++) sum = (Math.imul(sum, 31) + text.charCodeAt(i)) | 0;
  return sum;
}

/** What no caller may ask for, and memory must not be touched by. */
export const FORBIDDEN: Readonly<Record<string, () => unknown>> = {
  'a character that is no byte': () => fromByteString('a\u0100' as ByteString),
  'half of a surrogate pair': () => fromByteString('\ud800' as ByteString),
  'a character beyond 16 bits': () => putBytes(new Uint8Array(8), 0, '\u{1f600}' as ByteString),
  'one byte too many': () => putBytes(new Uint8Array(3), 0, 'four' as ByteString),
  'one byte behind the end': () => putBytes(new Uint8Array(3), 3, 'x' as ByteString),
  'a place far away': () => putBytes(new Uint8Array(3), 2 ** 52, 'x' as ByteString),
  'a place before the start': () => putBytes(new Uint8Array(3), -1, 'x' as ByteString),
  'the end of a view, not of its buffer': () =>
    putBytes(new Uint8Array(9).subarray(0, 2), 1, 'xy' as ByteString),
  'bytes behind the end': () => toByteString(new Uint8Array(9).subarray(0, 2), 1, 3),
  'bytes before the start': () => hex(new Uint8Array(9).subarray(2), -1, 1),
  'an end before the start': () => utf8String(new Uint8Array(3), 2, 1),
  'what is no array': () => hex('00' as unknown as Uint8Array),
  'bytes that are numbers': () => toByteString([1, 2] as unknown as Uint8Array),
  'a view of other things': () => utf8String(new ByteReader(new Uint8Array(1), '') as unknown as Uint8Array),
};

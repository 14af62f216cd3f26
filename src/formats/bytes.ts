/**
 * Bounded access to byte arrays. Nothing here reads or writes past an end: a value that does not fit is an error
 * that names what was read and where. Offsets are in bytes, little endian unless the name says otherwise.
 */

import { badInput } from './errors.ts';

/** Where something is wrong, for messages: decimal and hex. */
export function atOffset(offset: number): string {
  return `at offset ${offset} (0x${offset.toString(16)})`;
}

/** The number whose bytes stand at these places, the lowest first. */
function word(bytes: Uint8Array, a: number, b: number, c: number, d: number): number {
  const low = (bytes[a] as number) | ((bytes[b] as number) << 8) | ((bytes[c] as number) << 16);
  return (low | ((bytes[d] as number) << 24)) >>> 0;
}

/** Without a DataView: there is a reader for each of thousands of objects, most of which ask for no numbers. */
export class ByteReader {
  readonly bytes: Uint8Array;
  /** What is read, for messages: "superblock", "commit". */
  readonly what: string;

  constructor(bytes: Uint8Array, what: string) {
    this.bytes = bytes;
    this.what = what;
  }

  get length(): number {
    return this.bytes.length;
  }

  #require(offset: number, size: number): void {
    if (!Number.isSafeInteger(offset) || offset < 0 || size < 0 || offset + size > this.bytes.length) {
      throw badInput(
        'truncated',
        `cannot read ${this.what}: ${size} bytes ${atOffset(offset)} exceed its ${this.bytes.length} bytes`,
      );
    }
  }

  u8(offset: number): number {
    this.#require(offset, 1);
    return this.bytes[offset] as number;
  }

  u16(offset: number): number {
    this.#require(offset, 2);
    const { bytes } = this;
    return (bytes[offset] as number) | ((bytes[offset + 1] as number) << 8);
  }

  u32(offset: number): number {
    this.#require(offset, 4);
    return word(this.bytes, offset, offset + 1, offset + 2, offset + 3);
  }

  u32be(offset: number): number {
    this.#require(offset, 4);
    return word(this.bytes, offset + 3, offset + 2, offset + 1, offset);
  }

  u64(offset: number): bigint {
    this.#require(offset, 8);
    return (BigInt(this.u32(offset + 4)) << 32n) | BigInt(this.u32(offset));
  }

  /** A view of [start, end), not a copy. */
  slice(start: number, end: number): Uint8Array {
    this.#require(start, end - start);
    return this.bytes.subarray(start, end);
  }
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** In byte order: negative when the `aLength` bytes at `a` come before the `bLength` bytes at `b`, 0 for the same. */
export function compareRanges(
  bytes: Uint8Array,
  a: number,
  aLength: number,
  b: number,
  bLength: number,
): number {
  const common = Math.min(aLength, bLength);
  for (let i = 0; i < common; i++) {
    const difference = (bytes[a + i] as number) - (bytes[b + i] as number);
    if (difference !== 0) return difference;
  }
  return aLength - bLength;
}

/** Whether the bytes of `part`, of which there is at least one, stand anywhere in `bytes`. */
export function includesBytes(bytes: Uint8Array, part: Uint8Array): boolean {
  const first = part[0] ?? 0;
  // The engine looks for the first one: a loop of our own takes seconds for what an attacker can make us read.
  for (let at = bytes.indexOf(first); at >= 0; at = bytes.indexOf(first, at + 1)) {
    let same = 1;
    while (same < part.length && bytes[at + same] === part[same]) same++;
    if (same === part.length) return true;
  }
  return false;
}

export function concatBytes(parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const out = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/**
 * The number of two words of 32 bits, exact up to 2^53. Most are small integers, which engines keep as such, but not the
 * sum of a product: tens of thousands of those are an object each, and slow whatever reads them.
 */
export function wholeNumber(low: number, high: number): number {
  return high === 0 ? low : high * 2 ** 32 + low;
}

/** The next multiple of `step`, a power of two, that is not below `value`; exact up to 2^53. */
export function roundUp(value: number, step: number): number {
  return value + (-value & (step - 1));
}

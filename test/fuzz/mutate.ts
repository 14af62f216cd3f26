/** Changes to inputs, the same ones for the same seed. */

/** Marsaglia's xorshift32: quick, and good enough to choose places. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = Math.imul(seed + 1, 0x9e3779b1) | 1;
  }

  /** 0 <= result < limit; limit up to 2^31. */
  below(limit: number): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return (x >>> 1) % limit;
  }
}

/** A valid input and the places in it where a change is likely to mean something. */
export interface Seed {
  readonly bytes: Uint8Array;
  readonly places: Uint32Array;
}

const REACH = 4;

/** Everything within four bytes of one that is not zero: images are mostly padding. */
export function seedOf(bytes: Uint8Array): Seed {
  const places: number[] = [];
  let until = -1;
  for (let at = 0; at < bytes.length; at++) {
    if (bytes[at] !== 0) {
      for (let back = Math.max(until + 1, at - REACH); back < at; back++) places.push(back);
      until = Math.max(until, at + REACH);
    }
    if (at <= until) places.push(at);
  }
  return { bytes, places: Uint32Array.from(new Set(places)) };
}

/** Where formats turn over: signs, word sizes, blocks, printable text. */
const INTERESTING = [0, 1, 2, 4, 12, 31, 32, 64, 127, 128, 255, 256, 4095, 4096, 0x7fff, 0x8000, 0xffff];
const CHARACTERS = Buffer.from('\0\t\n\r "#*+-./0179:;=@AZ[\\]_az{}\x7f\x80\xc3\xff', 'latin1');

/** One to four changes. The seed is left as it is. */
export function mutate(seed: Seed, others: readonly Seed[], random: Random): Uint8Array {
  let bytes = seed.bytes.slice();
  for (let count = 1 + random.below(4); count > 0; count--) bytes = change(bytes, seed, others, random);
  return bytes;
}

function change(
  bytes: Uint8Array,
  seed: Seed,
  others: readonly Seed[],
  random: Random,
): Uint8Array<ArrayBuffer> {
  const out = bytes as Uint8Array<ArrayBuffer>;
  const at = place(bytes, seed, random);
  if (bytes.length === 0) return Uint8Array.of(random.below(256));
  switch (random.below(12)) {
    case 0:
    case 1:
    case 2:
      out[at] = (out[at] ?? 0) ^ (1 << random.below(8));
      return out;
    case 3:
      out[at] = random.below(256);
      return out;
    case 4:
      out[at] = CHARACTERS[random.below(CHARACTERS.length)] ?? 0;
      return out;
    case 5:
    case 6:
      putWord(out, at, INTERESTING[random.below(INTERESTING.length)] ?? 0, 1 << random.below(3));
      return out;
    case 7:
      putWord(out, at, -1 - random.below(3), 1 << random.below(3));
      return out;
    case 8:
      out.copyWithin(at, place(bytes, seed, random), bytes.length);
      return out;
    case 9: {
      const from = place(bytes, seed, random);
      out.copyWithin(at, from, Math.min(bytes.length, from + 1 + random.below(64)));
      return out;
    }
    case 10:
      return without(bytes, at, 1 + random.below(random.below(4) === 0 ? bytes.length : 16));
    default:
      return inserted(bytes, at, others[random.below(others.length)] as Seed, random);
  }
}

function place(bytes: Uint8Array, { places }: Seed, random: Random): number {
  if (bytes.length === 0) return 0;
  const likely = places.length > 0 && random.below(8) > 0;
  return (likely ? (places[random.below(places.length)] ?? 0) : random.below(bytes.length)) % bytes.length;
}

function putWord(out: Uint8Array, at: number, value: number, size: number): void {
  for (let i = 0; i < size && at + i < out.length; i++) out[at + i] = (value >> (8 * i)) & 0xff;
}

function without(bytes: Uint8Array, at: number, count: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(bytes.length - Math.min(count, bytes.length - at));
  out.set(bytes.subarray(0, at));
  out.set(bytes.subarray(at + bytes.length - out.length), at);
  return out;
}

const MAX_INSERTED = 128;

function inserted(bytes: Uint8Array, at: number, other: Seed, random: Random): Uint8Array<ArrayBuffer> {
  const from = random.below(other.bytes.length + 1);
  const part = other.bytes.subarray(from, from + 1 + random.below(MAX_INSERTED));
  const out = new Uint8Array(bytes.length + part.length);
  out.set(bytes.subarray(0, at));
  out.set(part, at);
  out.set(bytes.subarray(at), at + part.length);
  return out;
}

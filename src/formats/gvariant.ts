/**
 * GVariant, the serialisation of ostree's metadata objects (GVariant specification, section 2 "The serialisation
 * format"; little endian), in normal form only: what `decode` accepts, `encode` writes back byte for byte, so no
 * two byte strings mean the same value. Everything is bounded: the depth of a type, the number of values, every
 * offset. A variant (`v`) stays unopened until somebody asks for its type. Runs in the initramfs: kept small.
 *
 * Left out: maybe, double, handle, object path and signature types are recognised inside `v`, but not decoded.
 */

import { ByteReader, concatBytes, roundUp } from './bytes.ts';
import { type ByteString, fromByteString, toByteString, utf8String } from './encoding.ts';
import { badInput } from './errors.ts';
import {
  MAX_TYPE_LENGTH,
  offsetSize,
  parseType,
  type Type,
  typeOf,
  type Value,
  type ValueOf,
  type Vardict,
  type VariantValue,
} from './gvariant-types.ts';

export type { Value, ValueOf, Vardict, VariantValue };

/** Values that one decode may make unless the caller allows more; a commit of a real system has some tens. */
const MAX_VALUES = 16384;

class Decoder extends ByteReader {
  readonly type: string;
  valuesLeft: number;

  constructor(bytes: Uint8Array, what: string, type: string, maxValues: number) {
    super(bytes, what);
    this.type = type;
    this.valuesLeft = maxValues;
  }

  fail(fact: string, offset: number): never {
    throw badInput(
      'gvariant-malformed',
      `cannot read ${this.what}: ${fact} at offset ${offset} (0x${offset.toString(16)}), not ${this.type} in normal form`,
    );
  }

  /** Charged before anything is allocated. */
  charge(count: number, offset: number): void {
    this.valuesLeft -= count;
    if (this.valuesLeft < 0) this.fail('too many values', offset);
  }

  /** The caller guarantees that it stands inside. */
  offset(at: number, size: number): number {
    return size === 1 ? (this.bytes[at] ?? 0) : size === 2 ? this.u16(at) : this.u32(at);
  }

  /** The aligned start of the next child; the padding before it must be zero. */
  skip(at: number, align: number, limit: number): number {
    const start = roundUp(at, align);
    if (start > limit) this.fail('a value reaches past its container', at);
    this.zero(at, start);
    return start;
  }

  zero(from: number, to: number): void {
    for (let i = from; i < to; i++) if (this.bytes[i] !== 0) this.fail('padding is not zero', i);
  }

  /** The caller guarantees that it stands inside. */
  value(type: Type, start: number, end: number): Value {
    if (type.isBytes) return this.bytes.subarray(start, end);
    if (type.isString) return this.string(start, end);
    if (type.size > 0 && end - start !== type.size)
      this.fail(`${end - start} bytes for "${type.code}"`, start);
    switch (type.code) {
      case 'v':
        return this.variant(start, end);
      case 'a':
        return this.array(type, start, end);
      case '(':
      case '{':
        return this.tuple(type, start, end);
      case 'y':
        return this.u8(start);
      case 'b': {
        const byte = this.u8(start);
        if (byte > 1) this.fail(`boolean ${byte}`, start);
        return byte === 1;
      }
      case 'q':
        return this.u16(start);
      case 'n':
        return (this.u16(start) << 16) >> 16;
      case 'u':
        return this.u32(start);
      case 'i':
        return this.u32(start) | 0;
      case 't':
        return this.u64(start);
      case 'x': {
        const bits = this.u64(start);
        return bits < 1n << 63n ? bits : bits - (1n << 64n);
      }
      default:
        return this.fail(`unsupported type "${type.code}"`, start);
    }
  }

  string(start: number, end: number): ByteString {
    const isTerminated = end > start && this.bytes[end - 1] === 0;
    const text = isTerminated ? utf8String(this.bytes, start, end - 1) : undefined;
    if (text === undefined || text.includes('\0')) {
      return this.fail('a string that is not NUL-terminated UTF-8', start);
    }
    return text;
  }

  variant(start: number, end: number): VariantValue {
    const nul = this.slice(Math.max(start, end - MAX_TYPE_LENGTH - 1), end).lastIndexOf(0);
    if (nul < 0) this.fail('a variant without type', start);
    const at = Math.max(start, end - MAX_TYPE_LENGTH - 1) + nul;
    const type: string = toByteString(this.slice(at + 1, end));
    parseType(type, this.what);
    return { type, data: this.slice(start, at) };
  }

  array(type: Type, start: number, end: number): Value {
    const item = type.items[0] as Type;
    const out: Value[] = [];
    if (item.size > 0) {
      if ((end - start) % item.size !== 0) this.fail(`${end - start} bytes for an array`, start);
      this.charge((end - start) / item.size, start);
      for (let at = start; at < end; at += item.size) out.push(this.value(item, at, at + item.size));
    } else if (end > start) {
      this.elements(item, start, end, out);
    }
    const isVardict = item.code === '{' && item.items[0]?.code === 's' && item.items[1]?.code === 'v';
    return isVardict ? this.vardict(out as [ByteString, VariantValue][], start) : out;
  }

  elements(item: Type, start: number, end: number, out: Value[]): void {
    const width = offsetSize(end - start, 0);
    const body = this.offset(end - width, width);
    const table = start + body;
    const count = (end - table) / width;
    if (count < 1 || !Number.isInteger(count) || offsetSize(body, count) !== width) {
      this.fail('a bad offset table', start);
    }
    this.charge(count, start);
    const { align } = item;
    let at = start;
    for (let i = 0, place = table; i < count; i++, place += width) {
      const from = align === 1 ? at : this.skip(at, align, table);
      at = start + this.offset(place, width);
      if (at < from || at > table) this.fail('a bad framing offset', place);
      out[i] = this.value(item, from, at);
    }
  }

  vardict(entries: readonly [ByteString, VariantValue][], start: number): Vardict {
    const out = new Map<ByteString, VariantValue>(entries);
    if (out.size !== entries.length) this.fail('a duplicate key in a dictionary', start);
    return out;
  }

  tuple(type: Type, start: number, end: number): Value {
    const { items, size, offsets: count } = type;
    // GLib takes no bytes at all for a tuple of empty members, but never writes that.
    if (end === start) this.fail('a tuple of no bytes', start);
    const { length } = items;
    const width = offsetSize(end - start, 0);
    const bodyEnd = end - count * width;
    // Of offsets that are a byte wide no others could be.
    if (bodyEnd < start || (width > 1 && count > 0 && offsetSize(bodyEnd - start, count) !== width)) {
      this.fail('a bad offset table', start);
    }
    this.charge(length, start);
    const out: Value[] = [];
    let at = start;
    let table = end;
    for (let i = 0; i < length; i++) {
      const item = items[i] as Type;
      const { align, size: fixed } = item;
      const from = align === 1 ? at : this.skip(at, align, bodyEnd);
      if (fixed > 0) at = from + fixed;
      else if (i === length - 1) at = bodyEnd;
      else {
        table -= width;
        at = start + this.offset(table, width);
      }
      if (at < from || at > bodyEnd) this.fail('a bad framing offset', table);
      out[i] = this.value(item, from, at);
    }
    if (size > 0) this.zero(at, end);
    else if (at !== bodyEnd) this.fail('unused bytes', at);
    return out;
  }
}

/**
 * The value that `bytes` serialise, as views into `bytes`, not copies. Throws `gvariant-malformed` unless they are
 * the normal form. `what` names them in errors; `maxValues` bounds how many values are made.
 */
export function decode<T extends string>(
  type: T,
  bytes: Uint8Array,
  what: string,
  maxValues: number = MAX_VALUES,
): ValueOf<T> {
  const decoder = new Decoder(bytes, what, type, maxValues);
  return decoder.value(typeOf(type), 0, bytes.length) as ValueOf<T>;
}

/** The value in `variant` if it is of this very type; `what` names it in the error. */
export function openVariant<T extends string>(variant: VariantValue, type: T, what: string): ValueOf<T> {
  if (variant.type !== type) {
    throw badInput(
      'gvariant-type',
      `cannot read ${what}: it is of type "${variant.type}", expected "${type}"`,
    );
  }
  return decode(type, variant.data, what);
}

/** A `v` that holds `value`. */
export function makeVariant<T extends string>(type: T, value: ValueOf<T>): VariantValue {
  return { type, data: encode(type, value) };
}

/** The normal form of `value`. The caller guarantees that the value is of the type. */
export function encode<T extends string>(type: T, value: ValueOf<T>): Uint8Array {
  return encodeValue(typeOf(type), value as Value);
}

function encodeValue(type: Type, value: Value): Uint8Array {
  if (type.code === 's') return concatBytes([fromByteString(value as ByteString), new Uint8Array(1)]);
  if (type.code === 'v') {
    const { type: inner, data } = value as VariantValue;
    return concatBytes([data, new Uint8Array(1), fromByteString(inner as ByteString)]);
  }
  if (value instanceof Uint8Array) return value;
  if (type.code === 'a') {
    const item = type.items[0] as Type;
    const values = value instanceof Map ? [...value] : (value as readonly Value[]);
    return encodeContainer(
      type,
      values.map(() => item),
      values,
    );
  }
  if (type.code === '(' || type.code === '{')
    return encodeContainer(type, type.items, value as readonly Value[]);
  const out = new Uint8Array(type.size);
  let rest = BigInt(value as number | bigint | boolean);
  for (let i = 0; i < out.length; i++, rest >>= 8n) out[i] = Number(rest & 0xffn);
  return out;
}

function encodeContainer(type: Type, items: readonly Type[], values: readonly Value[]): Uint8Array {
  const parts: Uint8Array[] = [];
  const ends: number[] = [];
  let at = 0;
  for (const [i, item] of items.entries()) {
    const part = encodeValue(item, values[i] as Value);
    const start = roundUp(at, item.align);
    parts.push(new Uint8Array(start - at), part);
    at = start + part.length;
    if (item.size === 0 && (type.code === 'a' || i < items.length - 1)) ends.push(at);
  }
  if (type.size > 0) parts.push(new Uint8Array(type.size - at));
  if (type.code !== 'a') ends.reverse();
  const width = offsetSize(at, ends.length);
  const table = new Uint8Array(ends.length * width);
  for (const [i, end] of ends.entries()) {
    for (let byte = 0; byte < width; byte++) table[i * width + byte] = (end / 2 ** (8 * byte)) & 0xff;
  }
  return concatBytes([...parts, table]);
}

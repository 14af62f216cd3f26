/** GVariant types: what TypeScript has for each, and how its values are laid out (specification, section 2). */

import { roundUp } from './bytes.ts';
import { type ByteString, printable } from './encoding.ts';
import { badInput } from './errors.ts';

/** An unopened `v`: the type it names and its serialised bytes. */
export interface VariantValue {
  readonly type: string;
  readonly data: Uint8Array;
}

/** `a{sv}`, in the order of the bytes. Duplicate keys are refused, so a lookup has one answer. */
export type Vardict = ReadonlyMap<ByteString, VariantValue>;

export type Value =
  | number
  | bigint
  | boolean
  | ByteString
  | Uint8Array
  | VariantValue
  | Vardict
  | readonly Value[];

interface Basic {
  y: number;
  n: number;
  q: number;
  i: number;
  u: number;
  b: boolean;
  t: bigint;
  x: bigint;
  s: ByteString;
  v: VariantValue;
}

/** The TypeScript type of one GVariant type at the head of T, and what follows it. */
type Head<T extends string> = T extends `ay${infer Rest}`
  ? [Uint8Array, Rest]
  : T extends `a{sv}${infer Rest}`
    ? [Vardict, Rest]
    : T extends `a${infer Item}`
      ? Head<Item> extends [infer V, infer Rest]
        ? [readonly V[], Rest]
        : never
      : T extends `(${infer Items}`
        ? Members<Items, []>
        : T extends `${infer Code extends keyof Basic}${infer Rest}`
          ? [Basic[Code], Rest]
          : never;
type Members<T extends string, Done extends readonly unknown[]> = T extends `)${infer Rest}`
  ? [Done, Rest]
  : Head<T> extends [infer V, infer Rest extends string]
    ? Members<Rest, readonly [...Done, V]>
    : never;

/** `(sayay)` gives `readonly [ByteString, Uint8Array, Uint8Array]`. */
export type ValueOf<T extends string> = Head<T> extends [infer V, ''] ? V : never;

export interface Type {
  /** The type's first character. */
  readonly code: string;
  readonly align: number;
  /** Bytes of a value, 0 when that varies. */
  readonly size: number;
  readonly items: readonly Type[];
  /** `ay`. */
  readonly isBytes: boolean;
  /** `s`. */
  readonly isString: boolean;
  /** Of a tuple: how many of its members have a framing offset. */
  readonly offsets: number;
}

const LEAF: Type = { code: '', align: 1, size: 0, items: [], isBytes: false, isString: false, offsets: 0 };

const MAX_TYPE_DEPTH = 16;
export const MAX_TYPE_LENGTH = 255;

const FIXED_SIZES = 'yb..nqiuhxtd';

function fixedSize(code: string): number {
  const at = FIXED_SIZES.indexOf(code);
  if (at < 0) return 0;
  return at < 4 ? 1 : at < 6 ? 2 : at < 9 ? 4 : 8;
}

/** Compiles a type string; `what` is named when it is not one complete type. */
export function parseType(text: string, what: string): Type {
  let at = 0;
  function fail(): never {
    throw badInput('gvariant-malformed', `cannot read ${what}: "${printable(text)}" is not a GVariant type`);
  }
  function one(depth: number): Type {
    const code = text.charAt(at++);
    if (code === '' || depth > MAX_TYPE_DEPTH) fail();
    const size = code === '.' ? 0 : fixedSize(code);
    if (size > 0) return { ...LEAF, code, align: size, size };
    if ('sogv'.includes(code)) {
      return { ...LEAF, code, align: code === 'v' ? 8 : 1, isString: code === 's' };
    }
    if (code === 'a' || code === 'm') {
      const item = one(depth + 1);
      const isBytes = code === 'a' && item.code === 'y';
      return { ...LEAF, code, align: item.align, items: [item], isBytes };
    }
    if (code !== '(' && code !== '{') fail();
    const close = code === '(' ? ')' : '}';
    const items: Type[] = [];
    while (text.charAt(at) !== close) items.push(one(depth + 1));
    at++;
    if (code === '{' && (items.length !== 2 || 'av({m'.includes(items[0]?.code ?? 'a'))) fail();
    return tuple(code, items);
  }
  const type = text.length > MAX_TYPE_LENGTH ? fail() : one(0);
  if (at !== text.length) fail();
  return type;
}

function tuple(code: string, items: readonly Type[]): Type {
  let align = 1;
  let size = 0;
  let varying = 0;
  for (const item of items) {
    align = Math.max(align, item.align);
    size = roundUp(size, item.align) + item.size;
    if (item.size === 0) varying++;
  }
  // The empty tuple takes one byte, so that arrays of it can be counted (specification, 2.4.4).
  return {
    ...LEAF,
    code,
    align,
    size: varying === 0 ? roundUp(Math.max(size, 1), align) : 0,
    items,
    // The last member ends where the offsets begin.
    offsets: items.at(-1)?.size === 0 ? varying - 1 : varying,
  };
}

/** Bytes of one framing offset in a container of `body` bytes and `count` offsets: the smallest that fits. */
export function offsetSize(body: number, count: number): number {
  return body + count <= 0xff ? 1 : body + 2 * count <= 0xffff ? 2 : 4;
}

/** Of the types that the program knows, which are few and asked for again and again. */
const types = new Map<string, Type>();

export function typeOf(text: string): Type {
  const type = types.get(text) ?? parseType(text, 'type');
  types.set(text, type);
  return type;
}

/** What the interpreter is tried on, made anew for each trial, and how it is printed. */

/** Anything: what a trial does to null or to a string may throw, and what is thrown is its result. */
export type Loose = { [key: PropertyKey]: unknown };

export const SYMBOL = Symbol('symbol');
/** 8-bit characters; so long that QuickJS joins two without copying. */
const LONG = 'long '.repeat(2000);

export const TYPED_ARRAYS = [
  Uint8Array,
  Uint8ClampedArray,
  Int8Array,
  Uint16Array,
  Int16Array,
  Uint32Array,
  Int32Array,
  Float32Array,
  Float64Array,
] as const;
export const BIGINT_ARRAYS = [BigInt64Array, BigUint64Array] as const;

/** A string in pieces. */
export function rope(end: string): string {
  return LONG + end;
}

/** A class over it defines its fields on whatever it is given. */
export const Given = function (this: unknown, given: unknown) {
  return given;
} as unknown as new (
  given: unknown,
) => object;

/** Properties with flags of their own. */
function defined(object: object, properties: PropertyDescriptorMap): object {
  return Object.defineProperties(object, properties);
}

function withAccessor(object: object, name: PropertyKey): object {
  let kept: unknown = 'kept';
  return Object.defineProperty(object, name, {
    get: () => kept,
    set: (value: unknown) => {
      kept = value;
    },
    enumerable: true,
    configurable: true,
  });
}

function sloppyArguments(..._values: unknown[]): unknown {
  // biome-ignore lint/complexity/noArguments: an array-like object of its own kind
  return arguments;
}

/** Its elements are the parameters. */
function mappedArguments(first: unknown, second: unknown): unknown {
  // biome-ignore lint/complexity/noArguments: an array-like object of its own kind
  const all = arguments as unknown as Loose;
  first = [first, second];
  all[1] = 'changed';
  all.a = second;
  return all;
}

class Strict {
  arguments(..._values: unknown[]): unknown {
    // biome-ignore lint/complexity/noArguments: an array-like object of its own kind
    return arguments;
  }
}

function many(count: number): Loose {
  const object: Loose = {};
  for (let at = 0; at < count; at++) object[`key${at}`] = at;
  object.a = 'last';
  return object;
}

class ArrayOfOwn extends Array {
  a = 'own';
}
class BytesOfOwn extends Uint8Array {
  a = 'own';
}

const inherited = (prototype: object) => Object.create(prototype) as object;

export const OBJECTS: Record<string, () => unknown> = {
  plain: () => ({ a: 1, b: 'text' }),
  empty: () => ({}),
  'without prototype': () => Object.assign(inherited(null as unknown as object), { a: 1 }),
  'of objects': () => ({ a: { deep: 1 }, b: [1], length: { deep: 2 }, 0: {} }),
  'with numbers as names': () => ({ 1: 'one', 0: 'zero', '-1': 'minus one', 1.5: 'half', a: 'a' }),
  'with a symbol': () => ({ [SYMBOL]: 'by symbol', a: 1 }),
  'with many properties': () => many(60),
  'with an accessor': () => withAccessor({ b: 1 }, 'a'),
  'with accessors at numbers and length': () => withAccessor(withAccessor({}, 0), 'length'),
  'with a getter': () => ({
    get a() {
      return 'got';
    },
  }),
  'with a getter that throws': () => ({
    get a() {
      throw new RangeError('from the getter');
    },
  }),
  'with a setter': () => ({ set a(_: unknown) {} }),
  'with a getter of itself': () => ({
    b: 'own b',
    get a(): unknown {
      return (this as Loose).b;
    },
  }),
  'that inherits': () => inherited({ a: 'inherited', 0: 'zero', length: 7 }),
  'that inherits an accessor': () => inherited(withAccessor({}, 'a')),
  'that inherits a setter': () =>
    inherited({
      set a(value: unknown) {
        (this as Loose).b = value;
      },
    }),
  'that inherits what is read only': () =>
    inherited(defined({}, { a: { value: 1 }, length: { value: 2 }, 0: { value: 3 } })),
  'that inherits from an array': () => inherited([1, 2, 3]),
  'that hides what it inherits': () => Object.assign(inherited({ a: 'inherited' }), { a: 'own' }),
  'with what is read only': () =>
    defined({ b: 1 }, { a: { value: 1, enumerable: true, configurable: true } }),
  'with what stays': () => defined({ b: 1 }, { a: { value: 1, writable: true } }),
  'with an accessor that stays': () => defined({}, { a: { get: () => 'got' } }),
  frozen: () => Object.freeze({ a: 1, b: {}, 0: 'zero' }),
  sealed: () => Object.seal({ a: 1, b: {}, 0: 'zero' }),
  'not extensible': () => Object.preventExtensions({ a: 1 }),
  'not extensible and empty': () => Object.preventExtensions({}),
  'deleted and added again': () => {
    const object: Loose = { a: 1, b: 2, c: 3 };
    delete object.a;
    delete object.b;
    object.a = 'again';
    return object;
  },
  'deleted until its shape is made anew': () => {
    const object = many(60);
    for (let at = 0; at < 59; at++) delete object[`key${at}`];
    return object;
  },
  'an accessor that became a value': () => {
    const object = withAccessor({}, 'a');
    return Object.defineProperty(object, 'a', { value: 'value' });
  },
  'a value that became an accessor': () => withAccessor({ a: 1, b: 2 }, 'a'),
  'no elements': () => [],
  elements: () => [1, 2, 3],
  'elements of all kinds': () => ['text', 1.5, {}, undefined, null, [1]],
  // biome-ignore lint/suspicious/noSparseArray: it is what is tried
  holes: () => [, 1, , 3],
  'few elements far apart': () => {
    const array: unknown[] = [0];
    array[5000] = 'far';
    return array;
  },
  'the greatest length': () => {
    const array = [0, 1];
    array.length = 2 ** 32 - 1;
    return array;
  },
  'frozen elements': () => Object.freeze([1, {}, 3]),
  'sealed elements': () => Object.seal([1, {}, 3]),
  'elements, not extensible': () => Object.preventExtensions([1, 2]),
  'elements, with a length that stays': () => Object.defineProperty([1, 2], 'length', { writable: false }),
  'elements and a name': () => Object.assign([1, 2], { a: 'named' }),
  'an accessor among elements': () => withAccessor([1, 2, 3], 0),
  'an element that is read only': () => Object.defineProperty([1, 2, 3], 1, { writable: false }),
  'elements with another prototype': () =>
    Object.setPrototypeOf([1], inherited({ a: 'inherited', 1: 'one' })),
  // biome-ignore lint/suspicious/noSparseArray: it is what is tried
  'holes before a setter': () => Object.setPrototypeOf([1, , 3], withAccessor([], 1)),
  'elements that were removed': () => {
    const array = [1, 2, 3, 4];
    array.length = 1;
    return array;
  },
  'an array of a class': () => ArrayOfOwn.of(1, 2, 3),
  'bytes of a class': () => new BytesOfOwn([1, 2, 3]),
  ...Object.fromEntries(
    TYPED_ARRAYS.map((one) => [one.name, () => Object.assign(new one([1, 2, 200]), { a: 'named' })]),
  ),
  ...Object.fromEntries(BIGINT_ARRAYS.map((one) => [one.name, () => new one([1n, -1n, 2n ** 63n])])),
  'part of bytes': () => Uint8Array.of(1, 2, 3, 4, 5).subarray(2, 4),
  'no bytes': () => new Uint8Array(),
  'bytes, not extensible': () => Object.preventExtensions(new Uint8Array(2)),
  'bytes with a length': () =>
    Object.defineProperty(new Uint8Array(2), 'length', { value: 'own', writable: true }),
  'a buffer': () => Uint8Array.of(1, 2).buffer,
  'a view': () => new DataView(new ArrayBuffer(8)),
  'a string of 8 bits': () => 'latin é',
  'a string of 16 bits': () => '€ and more',
  'no string': () => '',
  'a string in pieces': () => rope('end'),
  'a string in pieces of 16 bits': () => rope('€'),
  'a string as an object': () => Object('text'),
  'a string as an object with a name': () => Object.assign(Object('€'), { a: 'named', 7: 'seven' }),
  'an integer': () => 5,
  'a number': () => 1.5,
  'a number as an object': () => Object(5),
  'a truth value': () => true,
  'a symbol': () => SYMBOL,
  'a small big integer': () => 5n,
  'a big integer': () => 2n ** 100n,
  undefined: () => undefined,
  null: () => null,
  'a function': () => Object.assign((one: unknown, other: unknown) => [one, other], { a: 'named' }),
  'a function with a prototype': () => function (this: unknown) {},
  'a function with a length': () => Object.defineProperty(() => 0, 'length', { value: 7, writable: true }),
  'a bound function': () => ((one: unknown, other: unknown) => [one, other]).bind(null, 1),
  'a function of the engine': () => Math.max,
  'a class': () =>
    class {
      static a = 'static';
      static length = 9;
      b = 1;
    },
  'an object of a class': () =>
    new (class {
      a = 1;
      0 = 'zero';
      length = 3;
      method() {}
    })(),
  'a class with an accessor': () =>
    class {
      static get a() {
        return 'static';
      }
      b = 1;
    },
  'arguments, by reference': () => mappedArguments('one', 'two'),
  'arguments, sloppy': () => sloppyArguments('one', 'two', 'three'),
  'arguments, strict': () => new Strict().arguments('one', 'two'),
  'an error': () => new RangeError('message'),
  'a map': () => new Map([['a', 1]]),
  'a set': () => new Set(['a']),
  'a generator': () =>
    (function* () {
      yield 1;
    })(),
};

/** What engines have of their own. */
const NOT_PRINTED: PropertyKey[] = ['arguments', 'caller', 'stack'];
const KEYS_PRINTED = 14;

function quoted(text: string): string {
  if (text.length > 40) return `'${text.length}, ..., ${quoted(text.slice(-3))}'`;
  let out = '';
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    out += code > 0x7e || code < 0x20 ? `\\u${code.toString(16)}` : text[at];
  }
  return `'${out}'`;
}

/** `nameOf` knows objects by their names. */
export function show(value: unknown, nameOf?: Map<unknown, string>): string {
  switch (typeof value) {
    case 'string':
      return quoted(value);
    case 'number':
      return Object.is(value, -0) ? '-0' : String(value);
    case 'bigint':
      return `${value}n`;
    case 'object':
    case 'function':
      return value === null ? 'null' : (nameOf?.get(value) ?? kindOf(value));
    default:
      return String(value);
  }
}

function kindOf(object: object): string {
  if (Array.isArray(object)) return `array of ${object.length}`;
  return Object.prototype.toString.call(object).slice(8, -1);
}

/** What the object has of its own, with its flags. */
export function stateOf(value: unknown, nameOf?: Map<unknown, string>): string {
  if (value === null || (typeof value !== 'object' && typeof value !== 'function')) return show(value);
  const keys = Reflect.ownKeys(value).filter((key) => !NOT_PRINTED.includes(key));
  const shown = keys.slice(-KEYS_PRINTED).map((key) => {
    const of = Reflect.getOwnPropertyDescriptor(value, key) as PropertyDescriptor;
    const flags = `${of.writable ? 'w' : ''}${of.enumerable ? 'e' : ''}${of.configurable ? 'c' : ''}`;
    const content = 'value' in of ? show(of.value, nameOf) : `${typeof of.get}/${typeof of.set}`;
    return `${typeof key === 'symbol' ? 'symbol' : quoted(key)}:${flags} ${content}`;
  });
  return `${keys.length}${Object.isExtensible(value) ? '' : '!'} {${shown.join(', ')}}`;
}

/** The result, or what is thrown. */
export function outcomeOf(act: () => unknown, nameOf?: Map<unknown, string>): string {
  try {
    return show(act(), nameOf);
  } catch (error) {
    return `throws ${error instanceof Error ? error.name : show(error)}`;
  }
}

/** One line: what has been tried, what came of it, and what became of what it was tried on. */
export const print = (name: string, outcome: string, after?: unknown) =>
  after === undefined ? `${name}: ${outcome}` : `${name}: ${outcome} -> ${stateOf(after)}`;

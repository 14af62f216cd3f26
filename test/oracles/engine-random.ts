/** Random operations on a few objects, which come to hold each other; each prints its result, so that the first difference shows. */

import { Given, type Loose, OBJECTS, outcomeOf, SYMBOL, stateOf } from './engine-objects.ts';

const ROUNDS = 300;
const OPERATIONS_EACH = 400;
const POOL = 12;

/** Marsaglia's xorshift32; anew for each operation, so that one that goes differently changes no other. */
let seed = 1;
function reseed(number: number): void {
  seed = Math.imul(number + 1, 0x9e3779b1) | 1;
  below(2);
  below(2);
}
function below(limit: number): number {
  seed ^= seed << 13;
  seed ^= seed >>> 17;
  seed ^= seed << 5;
  return (seed >>> 1) % limit;
}
const oneOf = <T>(list: readonly T[]): T => list[below(list.length)] as T;

/** What takes a minute. */
const LEFT_OUT = ['the greatest length', 'few elements far apart'];
const MAKERS = Object.entries(OBJECTS).flatMap(([name, make]) => (LEFT_OUT.includes(name) ? [] : [make]));

/** 100 makes an array sparse. */
const KEYS: readonly PropertyKey[] = [
  0,
  1,
  2,
  3,
  4,
  5,
  6,
  0,
  1,
  2,
  100,
  -1,
  1.5,
  -0,
  'a',
  'b',
  'c',
  '1',
  SYMBOL,
];
const VALUES: readonly unknown[] = [
  0,
  1,
  2,
  7,
  255,
  256,
  -1,
  70000,
  2 ** 31,
  1.5,
  Number.NaN,
  '',
  'text',
  '€',
  true,
  null,
  undefined,
  5n,
  2n ** 70n,
  SYMBOL,
];
const LENGTHS = [0, 1, 2, 3, 4, 9];

let pool: unknown[] = [];
let names = new Map<unknown, string>();

function makeOne(at: number): void {
  const made = oneOf(MAKERS)();
  pool[at] = made;
  if (made !== null && (typeof made === 'object' || typeof made === 'function')) names.set(made, `#${at}`);
}

const member = () => oneOf(pool) as Loose;
/** Also an object that nothing else holds; no object where it would have to be a number, since arrays hold each other. */
function anyValue(on?: unknown): unknown {
  const kind = below(8);
  if (kind < 4 || ArrayBuffer.isView(on)) return oneOf(VALUES);
  return kind < 7 ? member() : { a: member(), b: [below(9)] };
}

const sloppy: ((on: Loose, value: unknown, key: PropertyKey) => void)[] = [
  (on, value) => {
    on.a = value;
  },
  (on, value) => {
    on.b = value;
  },
  (on, value) => {
    on.c = value;
  },
  (on, value) => {
    on[0] = value;
  },
  (on, value, key) => {
    on[key] = value;
  },
  (on, value, key) => {
    on[key] = value;
  },
];

class Strictly {
  readonly puts: typeof sloppy = [
    (on, value) => {
      on.a = value;
    },
    (on, value) => {
      on.b = value;
    },
    (on, value) => {
      on[1] = value;
    },
    (on, value, key) => {
      on[key] = value;
    },
  ];
}
const strict = new Strictly().puts;

const gets: ((on: Loose, key: PropertyKey) => unknown)[] = [
  (on) => on.a,
  (on) => on.b,
  (on) => on.c,
  (on) => on.length,
  (on) => on.name,
  (on) => on[0],
  (on) => on[2],
  (on, key) => on[key],
  (on, key) => on[key],
  (on) => (on.a as Loose).a,
  (on) => (on.b as Loose)[0],
  (on) => (on.a as Loose).length,
];

class Marked extends Given {
  #mark: unknown = { mark: below(100) };
  static get = (on: Marked) => on.#mark;
  static put = (on: Marked, value: unknown) => {
    on.#mark = value;
  };
}
class WithC extends Given {
  c = { c: below(100) };
}

/** Of a property that is to be defined; it may stay. */
function descriptor(on: unknown): PropertyDescriptor {
  const value = anyValue(on);
  const flags = { enumerable: true, configurable: below(4) > 0 };
  return below(3) === 0 ? { get: () => value, ...flags } : { value, writable: below(3) > 0, ...flags };
}

/** Elements: the two engines refuse in another order there. */
const mayBeClosed = (on: unknown) => !ArrayBuffer.isView(on) && !Array.isArray(on);

const OPERATIONS: Record<string, (on: Loose) => unknown> = {
  get: (on) => oneOf(gets)(on, oneOf(KEYS)),
  'get again': (on) => oneOf(gets)(on, oneOf(KEYS)),
  put: (on) => oneOf(sloppy)(on, anyValue(on), oneOf(KEYS)),
  'put strictly': (on) => oneOf(strict)(on, anyValue(on), oneOf(KEYS)),
  'put elements': (on) => {
    for (let at = below(6); at >= 0; at--) on[at] = below(300);
  },
  delete: (on) => delete on[oneOf(KEYS)],
  // Elements that are sealed can be configured again in V8.
  define: (on) =>
    Object.isExtensible(on) && Reflect.defineProperty(on, oneOf(['a', 'b', 0, 1]), descriptor(on)),
  compare: (on) => {
    const other = anyValue();
    return `${on === other} ${other !== on} ${other === undefined} ${null !== other}`;
  },
  'compare what is in them': (on) => on.a === member().a,
  push: (on) => Array.isArray(on) && on.push(anyValue(), below(300)),
  pop: (on) => Array.isArray(on) && on.pop(),
  length: (on) => {
    on.length = oneOf(LENGTHS);
  },
  close: (on) => {
    if (below(8) > 0 || !mayBeClosed(on)) return;
    oneOf([Object.freeze, Object.seal, Object.preventExtensions])(on);
  },
  mark: (on) => (new Marked(on) as unknown) === on,
  'get the mark': (on) => (Marked.get(on as never) as Loose).mark,
  'put the mark': (on) => Marked.put(on as never, { mark: anyValue() }),
  // V8 lets a field pass that it does not add to such bytes.
  field: (on) => !Object.isExtensible(on) || (new WithC(on) as unknown) === on,
  literal: (on) => {
    pool[below(POOL)] = { a: on, b: anyValue(), c: [on] };
  },
  renew: () => makeOne(below(POOL)),
};

export function* randomOperations(): Generator<string> {
  const operations = Object.entries(OPERATIONS);
  for (let round = 0; round < ROUNDS; round++) {
    pool = new Array(POOL).fill(null);
    names = new Map();
    reseed(round);
    for (let at = 0; at < POOL; at++) makeOne(at);
    for (let at = 0; at < OPERATIONS_EACH; at++) {
      reseed(round * OPERATIONS_EACH + at);
      const [name, operate] = oneOf(operations);
      const on = below(POOL);
      const outcome = outcomeOf(() => operate(pool[on] as Loose), names);
      yield `${round}.${at} ${name} #${on}: ${outcome} -> ${stateOf(pool[on], names)}`;
    }
  }
}

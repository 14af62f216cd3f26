/**
 * What the interpreter does with each object of engine-objects.ts. How it is written decides the instruction: a property by a
 * name, an element by whatever is in brackets, `length`. Of a script only its classes are strict.
 */

import { ofComparisons } from './engine-comparisons.ts';
import { ofDefinitions } from './engine-definitions.ts';
import {
  BIGINT_ARRAYS,
  type Loose,
  OBJECTS,
  outcomeOf,
  print,
  rope,
  SYMBOL,
  show,
  stateOf,
  TYPED_ARRAYS,
} from './engine-objects.ts';

type Act = (on: Loose) => unknown;

/** As the interpreter gets them, from a variable. */
const INDICES: readonly unknown[] = [
  0,
  1,
  2,
  3,
  4,
  5,
  9,
  5000,
  5001,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 2,
  2 ** 32 - 1,
  2 ** 32,
  2 ** 53,
  1e300,
  -1,
  -2,
  -(2 ** 31),
  0.5,
  1.5,
  -0,
  Number.NaN,
  Infinity,
  '0',
  '1',
  '01',
  '-0',
  '-1',
  '1.5',
  'a',
  'length',
  'missing',
  '',
  SYMBOL,
  Symbol.iterator,
  true,
  null,
  undefined,
  1n,
  { toString: () => '1' },
  [1],
];

const GETS: Record<string, Act> = {
  a: (on) => on.a,
  b: (on) => on.b,
  missing: (on) => on.missing,
  length: (on) => on.length,
  name: (on) => on.name,
  size: (on) => on.size,
  message: (on) => on.message,
  prototype: (on) => on.prototype,
  'its constructor': (on) => on.constructor,
  byteLength: (on) => on.byteLength,
  '0': (on) => on[0],
  '1': (on) => on[1],
  '7': (on) => on[7],
  '300': (on) => on[300],
  '70000': (on) => on[70000],
  '-1': (on) => on[-1],
  'a twice': (on) => [on.a, on.a].map((one) => show(one)).join(),
  'of a': (on) => (on.a as Loose).deep,
  'length of a': (on) => (on.a as Loose).length,
  'length of length': (on) => (on.length as Loose).length,
  'element of a': (on) => (on.a as Loose)[0],
  'a called': (on) => (on.a as () => unknown)(),
  'valueOf called': (on) => typeof (on as object).valueOf(),
  'a perhaps': (on) => (on as Loose | undefined)?.a,
};

const changed = { toString: () => 'changed' };

class Strictly {
  readonly acts: Record<string, Act> = {
    'a, strictly': (on) => {
      on.a = 'put';
    },
    'length 1, strictly': (on) => {
      on.length = 1;
    },
    'prototype, strictly': (on) => {
      on.prototype = changed;
    },
    'name, strictly': (on) => {
      on.name = 'put';
    },
    '1, strictly': (on) => {
      on[1] = 8;
    },
    'text at 1, strictly': (on) => {
      on[1] = 'text';
    },
    '9, strictly': (on) => {
      on[9] = 8;
    },
    'a deleted, strictly': (on) => delete on.a,
    '1 deleted, strictly': (on) => delete on[1],
    'a += 1, strictly': (on) => {
      (on.a as number) += 1;
    },
    'length--, strictly': (on) => {
      (on.length as number)--;
    },
  };

  readonly put = (on: Loose, at: PropertyKey, value: unknown) => {
    on[at] = value;
  };
}

const strictly = new Strictly();

const PUTS: Record<string, Act> = {
  ...strictly.acts,
  a: (on) => {
    on.a = 'put';
  },
  'an object as a': (on) => {
    on.a = { put: 1 };
  },
  'itself as a': (on) => {
    on.a = on;
  },
  'a as a': (on) => {
    // biome-ignore lint/correctness/noSelfAssign: it is what is tried
    on.a = on.a;
  },
  'a as b': (on) => {
    on.b = on.a;
  },
  'a, thrice': (on) => {
    on.a = [1];
    on.a = [2];
    on.a = 3;
  },
  b: (on) => {
    on.b = 2;
  },
  missing: (on) => {
    on.missing = 3;
  },
  'its value': (on) => {
    // biome-ignore lint/suspicious/noAssignInExpressions: it is what is tried
    const put = (on.a = 'put');
    return put;
  },
  'a += 1': (on) => {
    (on.a as number) += 1;
  },
  'a++': (on) => (on.a as number)++,
  'a ??= 1': (on) => {
    on.a ??= 1;
  },
  '[0]++': (on) => (on[0] as number)++,
  '[1] += 1.5': (on) => {
    (on[1] as number) += 1.5;
  },
  'length 0': (on) => {
    on.length = 0;
  },
  'length 2': (on) => {
    on.length = 2;
  },
  'length 2, and an element behind': (on) => {
    on.length = 2;
    on[2] = 'behind';
    on[5] = 'far behind';
  },
  'length 5': (on) => {
    on.length = 5;
  },
  'length 2**32 - 1': (on) => {
    on.length = 2 ** 32 - 1;
  },
  "length '1'": (on) => {
    on.length = '1';
  },
  'length by an object': (on) => {
    on.length = { valueOf: () => 1 };
  },
  'length++': (on) => (on.length as number)++,
  name: (on) => {
    on.name = 'put';
  },
  prototype: (on) => {
    on.prototype = changed;
  },
  message: (on) => {
    on.message = changed;
  },
  'elements downwards': (on) => {
    for (let at = 4; at >= 0; at--) on[at] = at;
  },
  'elements upwards': (on) => {
    for (let at = 0; at < 9; at++) on[at] = `${at}`;
  },
  'a deleted': (on) => delete on.a,
  'a deleted and put': (on) => {
    delete on.a;
    on.a = 'again';
  },
  '[1] deleted': (on) => delete on[1],
  '[0] deleted, and got': (on) => {
    delete on[0];
    return on[0];
  },
  push: (on) => Array.prototype.push.call(on, 'pushed', {}),
  pop: (on) => Array.prototype.pop.call(on),
  'not extensible': (on) => {
    Object.preventExtensions(on);
    on.a = 'put';
    on.missing = 'put';
    on[0] = 'put';
    return on.a;
  },
  'a made read only': (on) => {
    Object.defineProperty(on, 'a', { writable: false });
    on.a = 'put';
    return on.a;
  },
  'a made an accessor': (on) => {
    Object.defineProperty(on, 'a', { get: () => 'got' });
    on.a = 'put';
    return on.a;
  },
  '[0] made an accessor': (on) => {
    Object.defineProperty(on, 0, { get: () => 'got' });
    on[0] = 'put';
    return on[0];
  },
};

/** On arrays: where the length is read only, V8 complains of that first. */
const NO_LENGTHS: readonly unknown[] = [2 ** 32, -1, 1.5, Number.NaN, 'one', {}, undefined, SYMBOL, 1n];

function* onObjects(): Generator<string> {
  for (const [name, make] of Object.entries(OBJECTS)) {
    const kept = make() as Loose;
    yield print(name, show(kept), kept);
    for (const [act, get] of Object.entries(GETS))
      yield print(
        `${name}, get ${act}`,
        outcomeOf(() => get(kept)),
      );
    for (const index of INDICES)
      yield print(
        `${name}, get [${show(index)}]`,
        outcomeOf(() => kept[index as PropertyKey]),
      );
    yield print(name, show(kept), kept);
    for (const [act, put] of Object.entries(PUTS)) {
      const on = make() as Loose;
      yield print(
        `${name}, put ${act}`,
        outcomeOf(() => put(on)),
        on,
      );
    }
    for (const index of INDICES.filter((each) => each !== 'length')) {
      for (const value of [7, 'text']) {
        const [on, other] = [make() as Loose, make() as Loose];
        const put = () => {
          on[index as PropertyKey] = value;
          return on[index as PropertyKey];
        };
        yield print(`${name}, put [${show(index)}]`, outcomeOf(put), on);
        yield print(
          `${name}, strictly put [${show(index)}]`,
          outcomeOf(() => strictly.put(other, index as PropertyKey, value)),
          other,
        );
      }
    }
  }
}

const ELEMENTS: readonly unknown[] = [
  0,
  1,
  -1,
  127,
  128,
  129,
  255,
  256,
  257,
  300,
  -128,
  -129,
  32767,
  32768,
  65535,
  65536,
  70000,
  2 ** 31 - 1,
  2 ** 31,
  -(2 ** 31),
  2 ** 32 - 1,
  2 ** 32,
  2 ** 53,
  -(2 ** 40),
  0.5,
  1.5,
  2.5,
  254.5,
  -0.5,
  -0,
  1e300,
  5e-324,
  Number.NaN,
  Infinity,
  -Infinity,
  '7',
  'text',
  '',
  true,
  false,
  null,
  undefined,
  {},
  [],
  [9],
  5n,
  -5n,
  2n ** 64n,
  SYMBOL,
  { valueOf: () => 66 },
  {
    valueOf: () => {
      throw new RangeError('from valueOf');
    },
  },
];

/** Each value in the middle of each typed array, whose neighbours must stay. */
function* ofTypedArrays(): Generator<string> {
  for (const one of [...TYPED_ARRAYS, ...BIGINT_ARRAYS]) {
    const filled = () => {
      const array = new one(8) as unknown as Loose;
      for (let at = 0; at < 8; at++) array[at] = typeof array[0] === 'bigint' ? BigInt(at) : at;
      return array;
    };
    for (const value of ELEMENTS) {
      for (const at of [3, 7, 8, -1]) {
        const array = filled();
        const put = () => {
          array[at] = value;
          return array[at];
        };
        yield print(`${one.name}[${at}] = ${show(value)}`, outcomeOf(put), array);
      }
    }
    // The value is a number only after it has been asked, which changes the array.
    const array = filled();
    const asked = () => {
      array[2] = {
        valueOf: () => {
          array[2] = typeof array[2] === 'bigint' ? 9n : 9;
          array[3] = array[2];
          return typeof array[2] === 'bigint' ? 1n : 1;
        },
      };
    };
    yield print(`${one.name}, changed by valueOf`, outcomeOf(asked), array);
    const bytes = new Uint8Array(64).fill(0xa5);
    const part = new one(bytes.buffer, 8, 3) as unknown as Loose;
    const around = () => {
      part[0] = part[2];
      part[2] = typeof part[2] === 'bigint' ? 0n : 0;
      part[3] = typeof part[2] === 'bigint' ? 0n : 0;
      return [part[0], part[1], part[2], part[3], part[-1]].map((element) => show(element)).join();
    };
    yield print(`${one.name}, in the middle of a buffer`, outcomeOf(around));
    yield Array.from(bytes).join();
  }
}

function* ofLengths(): Generator<string> {
  for (const length of NO_LENGTHS) {
    for (const name of ['no elements', 'elements', 'holes', 'an array of a class', 'plain', 'Uint8Array']) {
      const on = OBJECTS[name]?.() as Loose;
      const put = () => {
        on.length = length;
      };
      yield print(`${name}, length ${show(length)}`, outcomeOf(put), on);
    }
  }
}

/** Lengths and elements while what holds them changes. */
const CHANGES: Record<string, () => unknown> = {
  'an array that its element shortens': () => {
    const array: unknown[] = [1, 2, 3];
    array[2] = {
      get a() {
        array.length = 0;
        return array[2];
      },
    };
    return [(array[2] as Loose).a, array.length].map((one) => show(one)).join();
  },
  'an index that shortens': () => {
    const array = [{}, {}, {}];
    const index = {
      toString: () => {
        array.length = 1;
        return '2';
      },
    };
    return array[index as unknown as number];
  },
  'a value that replaces itself': () => {
    const object: Loose = { a: { b: {} } };
    object.a = (object.a as Loose).b;
    object.a = object;
    object.a = (object.a as Loose).a;
    return stateOf(object);
  },
  'the last that holds an object': () => {
    let object: Loose | undefined = { a: { deep: { er: 'found' } } };
    const deep = object.a as Loose;
    object = undefined;
    return (deep.deep as Loose).er;
  },
  'a property of what nobody holds': () => ({ a: { b: [`${1}x`] } }).a.b[0],
  'an element of what nobody holds': () => [[{}, `${2}x`]][0]?.[1],
  'the length of what nobody holds': () => [[1, 2, 3].slice(1).length, `${rope('x')}y`.length].join(),
  'a length, and what it is of, kept': () => {
    const text = `${rope('x')}y`;
    const lengths = [text.length, text.length, text.length];
    return `${lengths} ${text.length === text.slice(0).length} ${text.slice(-2)}`;
  },
  'elements of a rope': () => show(rope('€')[3]) + show(rope('€')[10_000]) + show(rope('€')[10_001]),
  'an object kept by its element only': () => {
    const array = [{ a: 1 }];
    const element = array[0] as Loose;
    array[0] = { a: 2 };
    return [element.a, array[0]?.a].join();
  },
  'elements put over objects': () => {
    const array: unknown[] = [{}, [], 'x'.repeat(9), 2n ** 70n];
    for (let at = 0; at < array.length; at++) array[at] = at;
    for (let at = 0; at < array.length; at++) array[at] = { at };
    return array.map((one) => (one as Loose).at).join();
  },
};

function* ofChanges(): Generator<string> {
  for (const [name, change] of Object.entries(CHANGES)) yield print(name, outcomeOf(change));
}

/** One line for each. */
export function* cases(): Generator<string> {
  yield* onObjects();
  yield* ofTypedArrays();
  yield* ofLengths();
  yield* ofChanges();
  yield* ofDefinitions();
  yield* ofComparisons();
}

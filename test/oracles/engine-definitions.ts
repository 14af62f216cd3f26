/** Objects as they are written, the fields of classes, and what is private. */

import { Given, type Loose, OBJECTS, outcomeOf, print, SYMBOL, show, stateOf } from './engine-objects.ts';

const key = (name: string) => name;

/** Objects as they are written, and classes. */
const DEFINITIONS: Record<string, () => unknown> = {
  literal: () => ({ a: 1, b: 'two', c: { d: [3] } }),
  'a computed name, then the same': () => ({ [key('a')]: { first: 1 }, b: 2, a: { second: 2 } }) as Loose,
  'the same, then a computed name': () => ({ a: { first: 1 }, b: 2, [key('a')]: { second: 2 } }) as Loose,
  'a getter, then a value': () =>
    ({
      get [key('a')]() {
        return 1;
      },
      a: 2,
    }) as Loose,
  'a value, then a getter': () =>
    ({
      a: 2,
      get [key('a')]() {
        return 1;
      },
    }) as Loose,
  'a setter, then a value, then a getter': () =>
    ({
      set [key('a')](_: unknown) {},
      a: 2,
      get [key('b')]() {
        return 1;
      },
      b: 3,
    }) as Loose,
  'a prototype': () => ({ __proto__: { a: 'inherited' }, b: 1 }),
  'a prototype with an accessor of the name': () => ({
    __proto__: {
      get a() {
        return 1;
      },
      set a(_) {
        throw new RangeError('a setter that must not run');
      },
    },
    a: 'own',
  }),
  'a prototype that is read only': () => ({ __proto__: Object.freeze({ a: 1 }), a: 'own' }),
  'a prototype that is an array': () => ({ __proto__: [1, 2], length: 'own', 0: 'own' }),
  'no prototype': () => ({ __proto__: null, a: 1 }),
  'a property of that name': () => ({ [key('__proto__')]: 1, a: 1 }),
  'a spread, then a value': () => ({ ...(OBJECTS.plain?.() as Loose), a: { second: 2 } }),
  'a value, then a spread': () => ({ a: { first: 1 }, ...(OBJECTS.plain?.() as Loose) }),
  'a frozen spread, then a value': () => ({ ...(OBJECTS.frozen?.() as Loose), a: 2 }),
  'a spread of a getter, then a value': () => ({
    ...(OBJECTS['with a getter']?.() as Loose),
    a: 2,
  }),
  methods: () => ({ a() {}, b: () => 0, c: 1 }),
  numbers: () => ({ 1: 'one', 0: 'zero', a: 1 }),
  'a symbol': () => ({ [SYMBOL]: 1, a: 2 }),
  many: () => ({ a: 1, b: 2, c: 3, d: 4, e: 5, f: 6, g: 7, h: 8, i: 9, j: 10, k: 11, l: 12 }),
  'the same shape twice, one changed': () => {
    const make = () => ({ a: 1, b: 2 }) as Loose;
    const [one, other] = [make(), make()];
    Object.freeze(one);
    delete other.a;
    return [one, other, make()].map((each) => stateOf(each)).join(' ');
  },
};

class Fields extends Given {
  a = 'field';
  b: unknown = { of: this };
  // biome-ignore lint/complexity/useLiteralKeys: another instruction
  ['c'] = 3;
  0 = 'zero';
  length = 5;
}
class FieldA extends Given {
  a = ['field'];
}
class FieldLength extends Given {
  length = 1;
}
class FieldName extends Given {
  name = 'field';
}
class FieldZero extends Given {
  0 = 'zero';
}
class FieldNine extends Given {
  9 = 9;
}
class FieldSymbol extends Given {
  [SYMBOL] = 'field';
}
class FieldTwice extends FieldA {
  override a = ['again'];
  missing = undefined;
}
const DEFINERS = [Fields, FieldA, FieldLength, FieldName, FieldZero, FieldNine, FieldSymbol, FieldTwice];

/**
 * V8 gives a new value to a field that is there already, where it has to refuse because that can not be configured, or to make it
 * enumerable. QuickJS, with the patch or without, makes an array longer before it finds that it is not extensible.
 */
function differs(on: unknown, fields: readonly PropertyKey[]): boolean {
  if (on === null || typeof on !== 'object') return false;
  if (Array.isArray(on) && !Object.isExtensible(on)) return true;
  return fields.some((field) => {
    const there = Object.getOwnPropertyDescriptor(on, field);
    return there?.writable && !(there.configurable && there.enumerable);
  });
}

/** One that has what an instruction of another class looks for, under the same name. */
class Private extends Given {
  #x: unknown = { private: 1 };
  readonly #same = 'in Private';
  #method() {
    return 'method';
  }
  get #accessor() {
    return this.#x;
  }
  set #accessor(value: unknown) {
    this.#x = [value];
  }
  get #readOnly() {
    return 'read only';
  }
  static #counter = 0;
  static count() {
    return ++Private.#counter;
  }
  static staticOf(on: typeof Private) {
    return on.#counter;
  }
  static acts: Record<string, (on: Private) => unknown> = {
    get: (on) => on.#x,
    'get deeply': (on) => (on.#x as Loose).private,
    same: (on) => on.#same,
    put: (on) => {
      on.#x = 'put';
      return on.#x;
    },
    'put an object': (on) => {
      on.#x = { put: [1] };
      on.#x = { put: [2] };
      return ((on.#x as Loose).put as unknown[])[0];
    },
    'put itself': (on) => {
      on.#x = on;
      return on.#x === on;
    },
    '++': (on) => {
      (on.#x as number)++;
      return on.#x;
    },
    call: (on) => on.#method(),
    accessor: (on) => {
      on.#accessor = 1;
      return on.#accessor;
    },
    'put what is read only': (on) => {
      (on as unknown as { [key: string]: unknown }).x = on.#readOnly;
      return on.#readOnly;
    },
    in: (on) => #x in on,
  };
}
class OtherPrivate extends Given {
  readonly #same = 'in OtherPrivate';
  static same = (on: OtherPrivate) => on.#same;
}
class BothPrivate extends Private {
  readonly #x = 'of the subclass';
  static both = (on: BothPrivate) => on.#x;
}

export function* ofDefinitions(): Generator<string> {
  for (const [name, define] of Object.entries(DEFINITIONS)) {
    yield print(
      name,
      outcomeOf(() => stateOf(define())),
    );
    yield print(
      `${name}, twice`,
      outcomeOf(() => {
        const [one, other] = [define(), define()] as [Loose, Loose];
        return one.a === other.a;
      }),
    );
  }
  for (const [name, make] of Object.entries(OBJECTS)) {
    for (const [at, Definer] of DEFINERS.entries()) {
      const on = make();
      if (differs(on, Reflect.ownKeys(new Definer({})))) continue;
      yield print(
        `fields ${at} on ${name}`,
        outcomeOf(() => new Definer(on) === on),
        on,
      );
    }
    yield* ofPrivate(name, make);
  }
  yield* ofSubclasses();
}

function* ofPrivate(name: string, make: () => unknown): Generator<string> {
  for (const [act, on] of Object.entries(Private.acts)) {
    const bare = make() as Private;
    yield print(
      `private ${act} of ${name}`,
      outcomeOf(() => on(bare)),
    );
    const branded = () => new Private(make());
    yield print(
      `private ${act} of ${name}, branded`,
      outcomeOf(() => on(branded())),
    );
  }
  const branded = outcomeOf(() => {
    const object = new Private(make());
    return [Private.acts.same?.(object), outcomeOf(() => OtherPrivate.same(object as never))].join();
  });
  const twice = outcomeOf(() => {
    const object = make();
    new OtherPrivate(object);
    return [OtherPrivate.same(new Private(object) as never), outcomeOf(() => new Private(object))].join();
  });
  const both = outcomeOf(() => {
    const object = new BothPrivate(make());
    return [show(Private.acts.get?.(object)), BothPrivate.both(object)].join();
  });
  const statics = outcomeOf(() => Private.staticOf(make() as never));
  yield `private of ${name}: ${branded} ${twice} ${both} ${statics} ${Private.count()}`;
}

function* ofSubclasses(): Generator<string> {
  const made: Record<string, () => unknown> = {
    plain: () =>
      new (class {
        a = 1;
        b = this.a;
      })(),
    'before and behind a subclass': () => {
      class Base {
        a: unknown = 1;
        c = 2;
      }
      return new (class extends Base {
        override a = [this.c];
        d = this.a;
      })();
    },
    array: () =>
      new (class extends Array {
        a = 1;
        0 = 'zero';
        override length = 3;
      })(),
    bytes: () =>
      new (class extends Uint8Array {
        a = 1;
        0 = 300;
      })(2),
    'bytes that have no such element': () =>
      new (class extends Uint8Array {
        2 = 1;
      })(2),
    map: () =>
      new (class extends Map {
        a = 1;
        override size = 7;
      })(),
    error: () =>
      new (class extends Error {
        override message = 'field';
        override name = 'Field';
      })('message'),
    string: () =>
      new (class extends String {
        a = 1;
        override length = 7;
      })('text'),
    'an accessor of the prototype': () =>
      new (class {
        get [key('a')](): unknown {
          return 'got';
        }
        set [key('a')](_: unknown) {
          throw new RangeError('a setter that must not run');
        }
        a = 1;
      })(),
    'a field that makes the object not extensible': () =>
      new (class {
        a = Object.preventExtensions(this);
        b = 2;
      })(),
    'a field that throws': () =>
      new (class {
        a = {};
        b = (this as unknown as Loose as { missing: Loose }).missing.b;
      })(),
    'static fields': () =>
      class {
        static a = 1;
        static override = { of: this.a };
        static length = 7;
        static name = 'field';
        a = 1;
      },
  };
  for (const [name, make] of Object.entries(made))
    yield print(
      `fields of ${name}`,
      outcomeOf(() => stateOf(make())),
    );
}

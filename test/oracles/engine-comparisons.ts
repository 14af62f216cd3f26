/** Every two values of all types, compared strictly. */

import { rope, SYMBOL } from './engine-objects.ts';

const sameObject = { same: 1 };
/** A variable that the compiler knows nothing of. */
const NOTHING: readonly unknown[] = [];
const sameFunction = () => 0;
const sameSymbol = Symbol('symbol');

/** Made anew, so that what is equal is not always the same. */
const comparedValues = (): Record<string, unknown> => ({
  undefined: undefined,
  null: null,
  true: true,
  false: false,
  0: 0,
  '-0': -0,
  1: 1,
  '0.5 + 0.5': 0.5 + sameObject.same / 2,
  '-1': -1,
  1.5: 1.5,
  NaN: Number.NaN,
  Infinity: Infinity,
  '2**31': 2 ** 31,
  '2**32': 2 ** 32,
  "''": '',
  "'a'": 'a',
  "'1'": '1',
  "'null'": 'null',
  'a of a computation': 'banana'.slice(1, 2),
  'e acute, 8 bits': 'é',
  'e acute, of 16 bits': '€é'.slice(1),
  'euro sign': '€',
  rope: rope('end'),
  'the same rope': rope('end'),
  'the same, flat': 'long '.repeat(2000) + 'end'.slice(0),
  'another rope': rope('END'),
  'a rope of 16 bits': rope('€'),
  symbol: SYMBOL,
  'another symbol': sameSymbol,
  'a symbol of its own': Symbol('symbol'),
  'a symbol of all': Symbol.for('symbol'),
  '0n': 0n,
  '1n': 1n,
  '-1n': -1n,
  '5n': 5n,
  '2n ** 62n': 2n ** 62n,
  '2n ** 63n - 1n': 2n ** 63n - 1n,
  '2n ** 63n': 2n ** 63n,
  '-(2n ** 63n)': -(2n ** 63n),
  '2n ** 64n + 1n': 2n ** 64n + 1n,
  '2n ** 100n': 2n ** BigInt(sameObject.same + 99),
  '1n, of a computation': 2n ** 100n - (2n ** 100n - 1n),
  object: sameObject,
  'an object of its own': { same: 1 },
  function: sameFunction,
  'a function of its own': () => 0,
  array: [1],
  bytes: Uint8Array.of(1),
  'an object for 1': Object(1),
  'an object for text': Object('a'),
});

const CONSTANTS: Record<string, (value: unknown) => boolean> = {
  '=== undefined': (value) => value === undefined,
  '!== undefined': (value) => value !== undefined,
  '=== void': (value) => value === NOTHING[0],
  '=== null': (value) => value === null,
  '!== null': (value) => value !== null,
  '=== true': (value) => value === true,
  '=== 1': (value) => value === 1,
  '!== 1': (value) => value !== 1,
  '=== 1.5': (value) => value === 1.5,
  "=== ''": (value) => value === '',
  "=== 'a'": (value) => value === 'a',
  '=== 1n': (value) => value === 1n,
  '=== 2n ** 63n': (value) => value === 9223372036854775808n,
  '=== {}': (value) => value === sameObject,
  '=== a new object': (value) => value === comparedValues().object,
  '!== a new array': (value) => value !== Array.of(1),
  '=== itself': (value) => {
    const other = value;
    return value === other;
  },
  'a switch': (value) => {
    switch (value) {
      case null:
      case 'a':
      case 1:
      case 5n:
      case sameObject:
      case undefined:
        return true;
      default:
        return false;
    }
  },
  typeof: (value) => typeof value === 'object',
};

export function* ofComparisons(): Generator<string> {
  const [ones, others] = [comparedValues(), comparedValues()];
  for (const [name, one] of Object.entries(ones)) {
    const constants = Object.entries(CONSTANTS).map(([act, compare]) => `${act} ${compare(one)}`);
    yield `${name}: ${constants.join(', ')}`;
    const equal: string[] = [];
    for (const [otherName, other] of Object.entries(others)) {
      // Either way round, and as a condition.
      const results = [one === other, other === one, one !== other, other !== one];
      if (one === other) results.push(true);
      if (one !== other && other !== one) results.push(false);
      if (results.join() !== 'false,false,true,true,false') equal.push(`${otherName} ${results}`);
    }
    yield `${name} equals ${equal.join('; ')}`;
  }
}

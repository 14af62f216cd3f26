import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeJson, type Json } from '../../src/formats/json.ts';

describe('encodeJson()', () => {
  it('writes what JSON.parse reads back, in printable ASCII on one line', () => {
    const text = fc.string({
      unit: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)),
    });
    const leaf = fc.oneof(text, fc.integer(), fc.boolean(), fc.constant(null));
    const { tree } = fc.letrec<{ tree: Json }>((tie) => ({
      tree: fc.oneof({ maxDepth: 4 }, leaf, fc.array(tie('tree')), fc.dictionary(text, tie('tree'))),
    }));
    fc.assert(
      fc.property(tree, (value) => {
        const encoded = encodeJson(value);
        expect(encoded).toMatch(/^[ -~]*$/);
        expect(JSON.parse(encoded)).toEqual(value);
      }),
      { numRuns: 300 },
    );
  });

  it('leaves out what is undefined, and writes large numbers whole', () => {
    expect(encodeJson({ a: undefined, b: 2n ** 64n - 1n })).toBe('{"b":18446744073709551615}');
  });
});

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { includesBytes } from '../../src/formats/bytes.ts';

describe('includesBytes()', () => {
  const short = (min: number) => fc.array(fc.constantFrom(0, 1, 255), { minLength: min, maxLength: 12 });

  it('finds what Buffer.includes() finds', () => {
    fc.assert(
      fc.property(short(0), short(1), (bytes, part) => {
        const found = includesBytes(Uint8Array.from(bytes), Uint8Array.from(part));
        expect(found).toBe(Buffer.from(bytes).includes(Buffer.from(part)));
      }),
      { numRuns: 2000 },
    );
  });
});

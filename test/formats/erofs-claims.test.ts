import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Claims } from '../../src/formats/erofs-claims.ts';

const IMAGE_BYTES = 2048;

it('Claims lets a word be claimed once, however ranges begin and end', () => {
  const range = fc.tuple(fc.nat(IMAGE_BYTES / 4 - 1), fc.integer({ min: 1, max: 400 }));
  fc.assert(
    fc.property(fc.array(range, { maxLength: 60 }), (ranges) => {
      const claims = new Claims(IMAGE_BYTES);
      const used = new Set<number>();
      for (const [first, bytes] of ranges) {
        const start = 4 * first;
        const end = Math.min(start + bytes, IMAGE_BYTES);
        const words: number[] = [];
        for (let word = first; 4 * word < end; word++) words.push(word);
        const free = words.every((word) => !used.has(word));
        expect(claims.add(start, end)).toBe(free);
        if (free) for (const word of words) used.add(word);
      }
    }),
    { numRuns: 2000, seed: 20261126 },
  );
});

import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { nodeHasher as hasher } from '../../src/adapters/hasher.ts';
import { openObjectStore } from '../../src/adapters/object-store.ts';
import { refused } from '../../src/formats/errors.ts';
import { parsePublicKeys } from '../../src/formats/keys.ts';
import { insteadOfDamaged, rebuiltImage } from '../../src/formats/rebuilt-image.ts';
import { decide, type VerdictInput } from '../../src/formats/verdict.ts';
import { UNTAMPERED, vector } from './mutation-inputs.ts';

const store = openObjectStore(join(import.meta.dirname, '../vectors/upstream-signed/repo'));
const { keys } = parsePublicKeys(vector('key1.pub'));
const verdict = decide({ ...UNTAMPERED, keys, hasher } as VerdictInput);
const damage = refused('image-unsafe', 'cannot use it', 'a remedy');
const from = { objects: () => store, hasher };

describe('rebuiltImage()', () => {
  it('makes the image that the commit names', () => {
    expect(Buffer.compare(rebuiltImage(verdict, from), vector('one.cfs'))).toBe(0);
  });

  it('refuses another', () => {
    const other = { ...verdict, digest: new Uint8Array(32) };
    expect(() => rebuiltImage(other, from)).toThrow(
      expect.objectContaining({
        code: 'image-digest-mismatch',
        message: expect.stringMatching(/^the digest of the image built from the objects is e2b8/),
      }),
    );
  });
});

describe('insteadOfDamaged()', () => {
  it('keeps the refusal of the damage, with the reason why there is no other image', () => {
    const fails = () => {
      throw refused('object-missing', 'cannot open object');
    };
    expect(() => insteadOfDamaged(damage, fails)).toThrow(
      expect.objectContaining({
        kind: 'refused',
        code: 'image-unsafe',
        message: 'cannot use it, and building it again failed: cannot open object',
        hint: 'a remedy',
      }),
    );
  });

  it('passes a defect on as what it is', () => {
    const fault = new TypeError('x is not a function');
    const fails = () => {
      throw fault;
    };
    expect(() => insteadOfDamaged(damage, fails)).toThrow(fault);
  });
});

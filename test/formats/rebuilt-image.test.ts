import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { nodeHasher as hasher } from '../../src/adapters/hasher.ts';
import { openObjectStore } from '../../src/adapters/object-store.ts';
import { refused } from '../../src/formats/errors.ts';
import { parsePublicKeys } from '../../src/formats/keys.ts';
import { rebuiltImage } from '../../src/formats/rebuilt-image.ts';
import { decide, type VerdictInput } from '../../src/formats/verdict.ts';
import { UNTAMPERED, vector } from './mutation-inputs.ts';

const store = openObjectStore(join(import.meta.dirname, '../vectors/upstream-signed/repo'));
const { keys } = parsePublicKeys(vector('key1.pub'));
const verdict = decide({ ...UNTAMPERED, keys, hasher } as VerdictInput);
const damage = refused('image-unsafe', 'cannot use it', 'a remedy');
const from = { objects: () => store, hasher };

describe('rebuiltImage()', () => {
  it('makes the image that the commit names', () => {
    const image = rebuiltImage(verdict, damage, from, (made) => made);
    expect(Buffer.compare(image, vector('one.cfs'))).toBe(0);
  });

  it('keeps the refusal of the damage when the objects make another', () => {
    const other = { ...verdict, digest: new Uint8Array(32) };
    expect(() => rebuiltImage(other, damage, from, () => 'used')).toThrow(
      expect.objectContaining({
        kind: 'refused',
        code: 'image-unsafe',
        message: expect.stringMatching(
          /^cannot use it, and building it again failed: the digest of the image built from the objects is e2b8/,
        ),
        hint: 'a remedy',
      }),
    );
  });

  it('passes a defect on as what it is', () => {
    const fault = new TypeError('x is not a function');
    const fails = () => {
      throw fault;
    };
    expect(() => rebuiltImage(verdict, damage, { objects: fails, hasher }, () => 'used')).toThrow(fault);
    expect(() => rebuiltImage(verdict, damage, from, fails)).toThrow(fault);
  });
});

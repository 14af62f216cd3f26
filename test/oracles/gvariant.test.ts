/** Our GVariant reader beside GLib's own: the same bytes are in normal form, or not, for both. */

import { createRequire } from 'node:module';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ascii, type ByteString, toByteString, utf8 } from '../../src/formats/encoding.ts';
import { SealrootError } from '../../src/formats/errors.ts';
import { decode, encode, makeVariant, type VariantValue } from '../../src/formats/gvariant.ts';

interface GLib {
  Variant: { newFromBytes(type: object, bytes: object, trusted: boolean): { isNormalForm(): boolean } };
  VariantType: { new: (type: string) => object };
  Bytes: { new: (bytes: Buffer) => object };
}

const glib = createRequire(import.meta.url)('node-gtk').require('GLib', '2.0') as GLib;

function glibAccepts(type: string, bytes: Uint8Array): boolean {
  const variant = glib.Variant.newFromBytes(
    glib.VariantType.new(type),
    glib.Bytes.new(Buffer.from(bytes)),
    false,
  );
  return variant.isNormalForm();
}

/** What GLib accepts and we refuse on purpose. */
const STRICTER = ['a duplicate key', 'is not a GVariant type', 'a tuple of no bytes'];

function compare(type: string, bytes: Uint8Array): boolean {
  let refusal = '';
  try {
    decode(type, bytes, 'value');
  } catch (error) {
    if (!(error instanceof SealrootError)) throw error;
    refusal = error.message;
  }
  if (STRICTER.some((text) => refusal.includes(text))) return false;
  const accepted = refusal === '';
  expect({ type, accepted, bytes: Buffer.from(bytes).toString('hex'), refusal }).toEqual({
    type,
    accepted: glibAccepts(type, bytes),
    bytes: Buffer.from(bytes).toString('hex'),
    refusal,
  });
  return accepted;
}

const text = fc
  .string({ unit: 'grapheme', maxLength: 6 })
  .map((s) => toByteString(utf8(s.replaceAll('\0', ''))));
const blob = fc.uint8Array({ maxLength: 20 });

const VALUES = {
  '(ayssay)': fc.tuple(blob, text, text, blob),
  aay: fc.array(blob, { maxLength: 5 }),
  'a(say)': fc.array(fc.tuple(text, blob), { maxLength: 4 }),
  'a(sayay)': fc.array(fc.tuple(text, blob, blob), { maxLength: 4 }),
  '(uuua(ayay))': fc.tuple(fc.nat(), fc.nat(), fc.nat(), fc.array(fc.tuple(blob, blob), { maxLength: 3 })),
  '(sub)': fc.tuple(text, fc.nat(), fc.boolean()),
  '(btys)': fc.tuple(fc.boolean(), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.nat(255), text),
};

describe('decode()', () => {
  it.each(Object.entries(VALUES))('and GLib agree on altered bytes of type %s', (type, values) => {
    const outcomes = { accepted: 0, refused: 0 };
    fc.assert(
      fc.property(
        values as fc.Arbitrary<never>,
        fc.nat(),
        fc.nat(255),
        fc.nat(4),
        (value, where, byte, kind) => {
          const bytes = Array.from(encode(type, value));
          const at = where % (bytes.length + 1);
          if (kind === 0) bytes.splice(at, 1);
          else if (kind === 1) bytes.splice(at, 0, byte);
          else if (kind === 2) bytes.splice(at, 1, byte);
          else if (kind === 3) bytes.splice(at, 1, 0);
          if (compare(type, Uint8Array.from(bytes))) outcomes.accepted++;
          else outcomes.refused++;
        },
      ),
      { numRuns: 1000 },
    );
    expect(Math.min(outcomes.accepted, outcomes.refused)).toBeGreaterThan(50);
  });

  it('and GLib agree on random bytes', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...Object.keys(VALUES)),
        fc.uint8Array({ maxLength: 24, max: 12 }),
        (type, bytes) => {
          compare(type, bytes);
        },
      ),
      { numRuns: 3000 },
    );
  });

  it('and GLib agree on what encode() writes, whatever the width of the offsets', () => {
    for (const size of [0, 1, 120, 250, 252, 253, 254, 255, 256, 65_530, 65_533, 65_534, 65_535, 65_536]) {
      const data = new Uint8Array(size);
      expect(compare('aay', encode('aay', [data, data.subarray(0, 1)]))).toBe(true);
      expect(compare('(ays)', encode('(ays)', [data, ascii('x')]))).toBe(true);
      const dictionary = new Map<ByteString, VariantValue>([[ascii('k'), makeVariant('ay', data)]]);
      expect(compare('a{sv}', encode('a{sv}', dictionary))).toBe(true);
    }
  });
});

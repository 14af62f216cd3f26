/** Ed25519 against OpenSSL (node:crypto) and @noble/curves: nothing that OpenSSL rejects is accepted. */

import { sign } from 'node:crypto';
import { ed25519 } from '@noble/curves/ed25519.js';
import { sha256, sha512 } from '@noble/hashes/sha2.js';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concatBytes } from '../../src/formats/bytes.ts';
import { decodePublicKey, ed25519Verify } from '../../src/formats/ed25519.ts';
import { hex, parseHex } from '../../src/formats/encoding.ts';
import type { Hasher } from '../../src/formats/hasher.ts';
import {
  bytes32,
  canonicalTorsion,
  challenge,
  flipped,
  L,
  littleEndian,
  opensslKey,
  opensslVerify,
  smallOrderEncodings,
  unreducedEncodings,
} from './ed25519-oracle.ts';

const hasher: Hasher = { sha256: (data) => sha256(data), sha512: (parts) => sha512(concatBytes(parts)) };
const { BASE } = ed25519.Point;

const seed = fc.uint8Array({ minLength: 32, maxLength: 32 });
const message = fc.uint8Array({ maxLength: 300 });

describe('ed25519Verify() and OpenSSL', { timeout: 60_000 }, () => {
  it('accepts the vectors of RFC 8032, section 7.1', () => {
    const vectors = [
      {
        key: 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
        message: '',
        signature:
          'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
      },
      {
        key: '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
        message: '72',
        signature:
          '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
      },
      {
        key: 'fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025',
        message: 'af82',
        signature:
          '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a',
      },
    ];
    for (const v of vectors) {
      const parts = [v.key, v.message, v.signature].map((text) => parseHex(text, 'vector'));
      const [key, text, signature] = parts as [Uint8Array, Uint8Array, Uint8Array];
      expect(ed25519Verify(key, text, signature, hasher)).toBe(true);
    }
  });

  it('agree on random keys and messages, and on every single bit changed', () => {
    fc.assert(
      fc.property(seed, message, fc.nat(511), (secret, text, bit) => {
        const key = opensslKey(secret);
        const publicKey = ed25519.getPublicKey(secret);
        const signature = new Uint8Array(sign(null, text, key));
        expect(ed25519Verify(publicKey, text, signature, hasher)).toBe(true);
        expect(ed25519Verify(publicKey, text, flipped(signature, bit), hasher)).toBe(false);
        expect(ed25519Verify(publicKey, concatBytes([text, new Uint8Array(1)]), signature, hasher)).toBe(
          false,
        );
        const otherKey = flipped(publicKey, bit & 255);
        expect(ed25519Verify(otherKey, text, signature, hasher)).toBe(false);
      }),
      { numRuns: 25 },
    );
  });

  it('refuse s + L, which makes a second signature of a good one', () => {
    fc.assert(
      fc.property(seed, message, (secret, text) => {
        const publicKey = ed25519.getPublicKey(secret);
        const signature = ed25519.sign(text, secret);
        const s = littleEndian(signature.subarray(32));
        const second = concatBytes([signature.subarray(0, 32), bytes32(s + L)]);
        expect(opensslVerify(publicKey, text, second)).toBe(false);
        expect(ed25519Verify(publicKey, text, second, hasher)).toBe(false);
      }),
      { numRuns: 10 },
    );
  });

  it('refuses keys and signatures of any other length', () => {
    const secret = new Uint8Array(32).fill(7);
    const publicKey = ed25519.getPublicKey(secret);
    const signature = ed25519.sign(new Uint8Array(3), secret);
    for (const length of [0, 31, 33, 64]) {
      const key = new Uint8Array(length);
      key.set(publicKey.subarray(0, length));
      expect(ed25519Verify(key, new Uint8Array(3), signature, hasher)).toBe(false);
    }
    for (const length of [0, 32, 63, 65, 128]) {
      const other = new Uint8Array(length);
      other.set(signature.subarray(0, length));
      expect(ed25519Verify(publicKey, new Uint8Array(3), other, hasher)).toBe(false);
    }
  });
});

const oddEncodings = [...smallOrderEncodings, ...unreducedEncodings];

describe('ed25519 at the edges', { timeout: 60_000 }, () => {
  it('decodePublicKey() refuses points of small order and non-canonical encodings', () => {
    expect(canonicalTorsion).toHaveLength(8);
    for (const bytes of oddEncodings) {
      expect(decodePublicKey(bytes), hex(bytes)).toBeUndefined();
    }
    expect(decodePublicKey(bytes32(2n)), 'not on the curve').toBeUndefined();
  });

  it('never accepts what OpenSSL rejects, over pairs of edge keys and edge R', () => {
    const text = new Uint8Array([1, 2, 3]);
    let accepted = 0;
    for (const key of oddEncodings) {
      for (const r of smallOrderEncodings) {
        const signature = concatBytes([r, new Uint8Array(32)]);
        if (opensslVerify(key, text, signature)) accepted++;
        expect(ed25519Verify(key, text, signature, hasher)).toBe(false);
      }
    }
    // OpenSSL does accept some of them: otherwise this test would not look at anything.
    expect(accepted).toBeGreaterThan(0);
  });

  it('refuses edge R under a good key', () => {
    const secret = new Uint8Array(32).fill(9);
    const publicKey = ed25519.getPublicKey(secret);
    const text = new Uint8Array([4]);
    const scalar = ed25519.utils.getExtendedPublicKey(secret).scalar;
    let accepted = 0;
    for (const r of oddEncodings) {
      // s = ka makes sB = kA, so that only R as the identity, canonically encoded, can satisfy the equation.
      const k = challenge(r, publicKey, text);
      const signature = concatBytes([r, bytes32((k * scalar) % L)]);
      const expected = opensslVerify(publicKey, text, signature);
      if (expected) accepted++;
      expect(ed25519Verify(publicKey, text, signature, hasher), hex(r)).toBe(expected);
    }
    expect(accepted).toBe(1);
  });

  it('judges torsioned R and A without cofactor, as OpenSSL does and @noble/curves does not', () => {
    let cofactored = 0;
    let cofactorless = 0;
    for (const torsion of canonicalTorsion) {
      const T = ed25519.Point.fromBytes(torsion, true);
      for (let i = 1; i <= 4; i++) {
        const a = BigInt(i) * 0x1234567890abcdefn + 1n;
        const r = BigInt(i) * 0xfedcba0987654321n + 1n;
        const text = new Uint8Array([i]);
        for (const [addToA, addToR] of [
          [T, ed25519.Point.ZERO],
          [ed25519.Point.ZERO, T],
          [T, T],
        ] as const) {
          const A = BASE.multiplyUnsafe(a).add(addToA).toBytes();
          const R = BASE.multiplyUnsafe(r).add(addToR).toBytes();
          const k = challenge(R, A, text);
          const signature = concatBytes([R, bytes32((r + k * a) % L)]);
          const expected = opensslVerify(A, text, signature);
          if (expected) cofactorless++;
          if (ed25519.verify(signature, text, A, { zip215: true })) cofactored++;
          expect(ed25519Verify(A, text, signature, hasher)).toBe(expected);
        }
      }
    }
    expect(cofactored).toBe(8 * 4 * 3);
    expect(cofactorless).toBeGreaterThan(4 * 3);
    expect(cofactorless).toBeLessThan(cofactored);
  });
});

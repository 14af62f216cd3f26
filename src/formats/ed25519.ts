/**
 * Ed25519 verification (RFC 8032), strict: a signature is accepted if and only if A and R are canonical, A is not of
 * small order, s < L and sB = R + kA without cofactor. Nothing that OpenSSL rejects is accepted; beyond OpenSSL,
 * keys of small order and non-canonical keys are refused, because under such a key a signature proves nothing.
 *
 * The curve arithmetic is @noble/curves'; its ready-made `ed25519.verify` is not used because it multiplies by the
 * cofactor (laxer than OpenSSL), builds a base-point table that a program which verifies once never earns back
 * (10 times the instructions under QuickJS), and hashes in JavaScript. Not constant-time: everything here is public.
 * There is no signing in `formats`.
 */

import { ByteReader, equalBytes } from './bytes.ts';
import {
  type EdwardsPoint,
  type EdwardsPointCons,
  edwards,
  Field,
  type IField,
  mulAddUnsafe,
} from './curves.ts';
import type { Hasher } from './hasher.ts';

export const ED25519_KEY_BYTES = 32;
export const ED25519_SIGNATURE_BYTES = 64;

/** L, the order of the base point: RFC 8032, section 5.1. */
const ORDER = 0x1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3edn;

/** edwards25519: RFC 8032, section 5.1; p = 2^255 - 19, a = -1, cofactor 8. */
const CURVE = {
  p: 0x7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffedn,
  n: ORDER,
  h: 8n,
  a: 0x7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffecn,
  d: 0x52036cee2b6ffe738cc740797779e89800700a4d4141d8ab75eb4dca135978a3n,
  Gx: 0x216936d3cd6e53fec0a4e231fdd6dc5c692cc7609525a7b2c9562d608f25d51an,
  Gy: 0x6666666666666666666666666666666666666666666666666666666666666658n,
};

let pointClass: EdwardsPointCons | undefined;

/** Made on first use: a boot that is refused before the signature does not pay for it. */
function edwards25519(): EdwardsPointCons {
  pointClass ??= edwards(CURVE, { Fp: fieldOfCurve() });
  return pointClass;
}

/**
 * @noble/curves' field with its five busiest operations written out for the one modulus: the same results without a
 * call and a comparison each, 4 of the 50 million instructions of a verification under QuickJS. And when the curve is
 * set up, it is asked whether its own constants are squares (Euler's criterion, x^((p-1)/2)): two powers that take
 * another 2 million and always come out the same.
 */
function fieldOfCurve(): IField<bigint> {
  const { p, a, d } = CURVE;
  const field = Field(p, { isLE: true });
  const half = (p - 1n) / 2n;
  const reduce = (value: bigint) => {
    const rest = value % p;
    return rest < 0n ? rest + p : rest;
  };
  // Sums and differences are seldom further away than one p, and then no division is needed.
  const near = (value: bigint) => {
    if (value >= 0n) return value < p ? value : reduce(value);
    const above = value + p;
    return above >= 0n ? above : reduce(value);
  };
  return Object.create(field, {
    pow: {
      value: (base: bigint, power: bigint) => {
        if (power === half && base === a) return 1n;
        return power === half && base === d ? p - 1n : field.pow(base, power);
      },
    },
    mul: {
      value: (a: bigint, b: bigint) => {
        const rest = (a * b) % p;
        return rest < 0n ? rest + p : rest;
      },
    },
    sqr: { value: (a: bigint) => (a * a) % p },
    neg: { value: (a: bigint) => near(-a) },
    add: { value: (a: bigint, b: bigint) => near(a + b) },
    sub: { value: (a: bigint, b: bigint) => near(a - b) },
  });
}

/** A public key that passed the checks of `decodePublicKey`. */
export interface VerifyingKey {
  readonly bytes: Uint8Array;
  /** -A, the form that the verification equation needs. */
  readonly negated: EdwardsPoint;
}

/** The key as a point; undefined unless it is 32 bytes, canonical, on the curve and not of small order. */
export function decodePublicKey(bytes: Uint8Array): VerifyingKey | undefined {
  if (bytes.length !== ED25519_KEY_BYTES) return undefined;
  const point = decodePoint(bytes);
  if (point === undefined || point.isSmallOrder()) return undefined;
  return { bytes, negated: point.negate() };
}

function decodePoint(bytes: Uint8Array): EdwardsPoint | undefined {
  try {
    // false: not ZIP-215, so y >= p and the sign bit on x = 0 are refused.
    return edwards25519().fromBytes(bytes, false);
  } catch {
    // The length is right, so the only thing left to throw about is the encoding; any failure means "no key".
    return undefined;
  }
}

/** True if and only if `signature` is a valid signature of `message` under the key; see the head of this file. */
export function verifyWithKey(
  key: VerifyingKey,
  message: Uint8Array,
  signature: Uint8Array,
  hasher: Hasher,
): boolean {
  if (signature.length !== ED25519_SIGNATURE_BYTES) return false;
  const r = signature.subarray(0, 32);
  const s = littleEndian(signature.subarray(32));
  if (s >= ORDER) return false;
  const k = littleEndian(hasher.sha512([r, key.bytes, message])) % ORDER;
  const Point = edwards25519();
  const expected = mulAddUnsafe(Point, [Point.BASE, key.negated], [s, k]);
  // Comparing encodings instead of points refuses every non-canonical R, and is what OpenSSL does.
  return equalBytes(expected.toBytes(), r);
}

/** As `verifyWithKey` for a key in its encoded form; a key that `decodePublicKey` refuses verifies nothing. */
export function ed25519Verify(
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
  hasher: Hasher,
): boolean {
  const key = decodePublicKey(publicKey);
  return key !== undefined && verifyWithKey(key, message, signature, hasher);
}

/** The unsigned little-endian integer in bytes whose number is a multiple of 8. */
function littleEndian(bytes: Uint8Array): bigint {
  const reader = new ByteReader(bytes, 'ed25519 scalar');
  let value = 0n;
  for (let offset = bytes.length - 8; offset >= 0; offset -= 8) value = (value << 64n) | reader.u64(offset);
  return value;
}

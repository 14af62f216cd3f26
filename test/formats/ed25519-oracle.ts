/** OpenSSL's Ed25519 (node:crypto), and the encodings on which implementations disagree. */

import { createPrivateKey, createPublicKey, type KeyObject, verify } from 'node:crypto';
import { ED25519_TORSION_SUBGROUP, ed25519 } from '@noble/curves/ed25519.js';
import { sha512 } from '@noble/hashes/sha2.js';
import { concatBytes } from '../../src/formats/bytes.ts';
import { hex, parseHex } from '../../src/formats/encoding.ts';

export const L = ed25519.Point.Fn.ORDER;
export const P = ed25519.Point.Fp.ORDER;
const SIGN_BIT = 1n << 255n;

export function opensslVerify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  const der = concatBytes([parseHex('302a300506032b6570032100', 'prefix'), publicKey]);
  const key = createPublicKey({ key: Buffer.from(der), format: 'der', type: 'spki' });
  return verify(null, message, key, signature);
}

export function opensslKey(seed: Uint8Array): KeyObject {
  const der = concatBytes([parseHex('302e020100300506032b657004220420', 'prefix'), seed]);
  return createPrivateKey({ key: Buffer.from(der), format: 'der', type: 'pkcs8' });
}

export function bytes32(value: bigint): Uint8Array {
  const out = new Uint8Array(32);
  for (let i = 0; i < 32; i++) out[i] = Number((value >> BigInt(8 * i)) & 0xffn);
  return out;
}

export function littleEndian(bytes: Uint8Array): bigint {
  return bytes.reduceRight((value, byte) => value * 256n + BigInt(byte), 0n);
}

export function flipped(bytes: Uint8Array, bit: number): Uint8Array {
  const out = bytes.slice();
  out[bit >> 3] = (out[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return out;
}

/** k of the equation sB = R + kA. */
export function challenge(r: Uint8Array, publicKey: Uint8Array, message: Uint8Array): bigint {
  return littleEndian(sha512(concatBytes([r, publicKey, message]))) % L;
}

/** The eight points of small order, canonically. */
export const canonicalTorsion = ED25519_TORSION_SUBGROUP.map((text) => parseHex(text, 'torsion'));

/** The same points in every encoding that anybody may take for one: y + p where it fits, both signs of x = 0. */
export const smallOrderEncodings = canonicalTorsion.flatMap((bytes) => {
  const encoded = littleEndian(bytes);
  const y = encoded % SIGN_BIT;
  const sign = encoded - y;
  const signs = y === 1n || y === P - 1n ? [0n, SIGN_BIT] : [sign];
  const ys = y + P < SIGN_BIT ? [y, y + P] : [y];
  return ys.flatMap((value) => signs.map((bit) => bytes32(value + bit)));
});

/** Every y >= p with both signs, whether there is such a point or not. */
export const unreducedEncodings = Array.from({ length: 19 }, (_, more) => P + BigInt(more)).flatMap((y) => [
  bytes32(y),
  bytes32(y + SIGN_BIT),
]);

const smallOrder = new Set(smallOrderEncodings.map((bytes) => hex(bytes)));

/** A key under which a signature proves nothing, or one that has another spelling: the only ones we may refuse alone. */
export function isSmallOrNonCanonical(publicKey: Uint8Array): boolean {
  return smallOrder.has(hex(publicKey)) || littleEndian(publicKey) % SIGN_BIT >= P;
}

/**
 * Signatures for three verifiers to judge: random ones with one thing changed, and those at the edges of the curve.
 * The same ones for the same seed; nothing here says what the judgement should be.
 */

import { createPublicKey, type KeyObject, sign } from 'node:crypto';
import { ed25519 } from '@noble/curves/ed25519.js';
import { concatBytes } from '../../src/formats/bytes.ts';
import { Random } from '../fuzz/mutate.ts';
import {
  bytes32,
  canonicalTorsion,
  challenge,
  flipped,
  L,
  littleEndian,
  opensslKey,
  smallOrderEncodings,
  unreducedEncodings,
} from './ed25519-oracle.ts';

export interface SignatureCase {
  readonly name: string;
  readonly publicKey: Uint8Array;
  readonly message: Uint8Array;
  readonly signature: Uint8Array;
}

type Parts = Omit<SignatureCase, 'name'>;

const { Point } = ed25519;
const MAX_MESSAGE = 300;

/** What a name stands for, done to a good signature. */
const CHANGES: readonly (readonly [
  name: string,
  change: (parts: Parts, random: Random) => Partial<Parts>,
])[] = [
  ['untouched', () => ({})],
  [
    'bit of the message',
    ({ message }, random) => ({ message: flipped(message, random.below(8 * message.length)) }),
  ],
  ['byte behind the message', ({ message }) => ({ message: concatBytes([message, new Uint8Array(1)]) })],
  ['bit of R', ({ signature }, random) => ({ signature: flipped(signature, random.below(256)) })],
  ['bit of s', ({ signature }, random) => ({ signature: flipped(signature, 256 + random.below(256)) })],
  ['bit of the key', ({ publicKey }, random) => ({ publicKey: flipped(publicKey, random.below(256)) })],
  ['s + nL', ({ signature }, random) => ({ signature: withOrderAdded(signature, 1 + random.below(14)) })],
  ['another key', (_, random) => ({ publicKey: publicKeyOf(opensslKey(bytesOf(random, 32))) })],
  ['random signature', (_, random) => ({ signature: bytesOf(random, 64) })],
  ['random key', (_, random) => ({ publicKey: bytesOf(random, 32) })],
  ['torsion', (parts, random) => torsioned(parts.message, scalarOf(random), scalarOf(random), random)],
  ['key at the edge', (_, random) => ({ publicKey: oneOf(EDGES, random) })],
  [
    'R at the edge',
    ({ signature }, random) => ({ signature: concatBytes([oneOf(EDGES, random), signature.subarray(32)]) }),
  ],
];

const EDGES = [...smallOrderEncodings, ...unreducedEncodings];

export function* randomCases(count: number, seed: number): Generator<SignatureCase> {
  const random = new Random(seed);
  for (let i = 0; i < count; i++) {
    const secret = opensslKey(bytesOf(random, 32));
    const message = bytesOf(random, 1 + random.below(MAX_MESSAGE));
    const publicKey = publicKeyOf(secret);
    const signature = new Uint8Array(sign(null, message, secret));
    const [name, change] = CHANGES[i % CHANGES.length] as (typeof CHANGES)[number];
    const parts = { publicKey, message, signature };
    yield { name: `${i}: ${name}`, ...parts, ...change(parts, random) };
  }
}

function publicKeyOf(secret: KeyObject): Uint8Array {
  return new Uint8Array(createPublicKey(secret).export({ format: 'der', type: 'spki' }).subarray(-32));
}

/** Every meeting of edge keys, edge R and torsion; with enough messages for the equation to hold by chance of 1 in 8. */
export function* edgeCases(): Generator<SignatureCase> {
  const messages = Array.from({ length: 8 }, (_, i) => new Uint8Array([i]));
  for (const publicKey of EDGES) {
    for (const r of smallOrderEncodings) {
      for (const message of messages) {
        yield { name: 'edge A, edge R, s = 0', publicKey, message, signature: concatBytes([r, bytes32(0n)]) };
      }
      const signature = concatBytes([r, bytes32(L)]);
      yield { name: 'edge A, edge R, s = L', publicKey, message: new Uint8Array(), signature };
    }
  }
  const a = 0x1234567890abcdefn;
  for (const torsion of canonicalTorsion) {
    const publicKey = Point.BASE.multiplyUnsafe(a).add(Point.fromBytes(torsion, true)).toBytes();
    for (const r of EDGES) {
      for (const message of messages.slice(0, smallOrderEncodings.includes(r) ? 8 : 1)) {
        // s = ka makes sB = kaB: what is left of the equation lies in the torsion subgroup.
        const s = (challenge(r, publicKey, message) * a) % L;
        yield { name: 'torsioned A, edge R', publicKey, message, signature: concatBytes([r, bytes32(s)]) };
      }
    }
  }
}

/** A = aB + T and R = rB + T' with s = r + ka: good under a verifier that multiplies by the cofactor, whatever T and T'. */
function torsioned(message: Uint8Array, a: bigint, r: bigint, random: Random): Parts {
  const plus = (scalar: bigint) =>
    Point.BASE.multiplyUnsafe(scalar)
      .add(Point.fromBytes(oneOf(canonicalTorsion, random), true))
      .toBytes();
  const [publicKey, encodedR] = [plus(a), plus(r)];
  const s = (r + challenge(encodedR, publicKey, message) * a) % L;
  return { publicKey, message, signature: concatBytes([encodedR, bytes32(s)]) };
}

/** The same s for whoever reduces it; it stays below 2^256. */
function withOrderAdded(signature: Uint8Array, times: number): Uint8Array {
  const s = littleEndian(signature.subarray(32)) + BigInt(times) * L;
  return concatBytes([signature.subarray(0, 32), bytes32(s)]);
}

function bytesOf(random: Random, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => random.below(256));
}

/** Less than L, and not 0. */
function scalarOf(random: Random): bigint {
  return (littleEndian(bytesOf(random, 32)) % (L - 1n)) + 1n;
}

function oneOf<T>(items: readonly T[], random: Random): T {
  return items[random.below(items.length)] as T;
}

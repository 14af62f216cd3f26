import { describe, expect, it } from 'vitest';
import { ascii } from '../../src/formats/encoding.ts';
import { SealrootError } from '../../src/formats/errors.ts';
import { makeVariant, openVariant, type Vardict } from '../../src/formats/gvariant.ts';
import {
  COMPOSEFS_DIGEST_KEY,
  type Commit,
  ED25519_SIGNATURES_KEY,
} from '../../src/formats/ostree-objects.ts';
import {
  requireSameDigest,
  signatureNames,
  statedDigest,
  withSeal,
  withSignatures,
  withUnsignedEntries,
} from '../../src/formats/sealing.ts';

const COMMIT: Commit = {
  metadata: new Map([[ascii('version'), makeVariant('s', ascii('1'))]]),
  related: [],
  subject: ascii(''),
  body: ascii(''),
  timestamp: 0n,
  rootTree: '11'.repeat(32),
  rootMeta: '22'.repeat(32),
};

function codeOf(operation: () => unknown): string {
  try {
    operation();
  } catch (error) {
    if (error instanceof SealrootError) return `${error.kind} ${error.code}`;
    throw error;
  }
  return 'no error';
}

describe('statedDigest()', () => {
  it('reads back what withSeal() put last into the metadata, and changes nothing else', () => {
    const digest = new Uint8Array(32).fill(7);
    const sealed = withSeal(COMMIT, digest);
    expect(statedDigest(COMMIT, 'commit')).toBeUndefined();
    expect(statedDigest(sealed, 'commit')).toEqual(digest);
    expect([...sealed.metadata.keys()]).toEqual(['version', COMPOSEFS_DIGEST_KEY]);
    expect({ ...sealed, metadata: COMMIT.metadata }).toEqual(COMMIT);
    expect(COMMIT.metadata.size).toBe(1);
  });

  it.each([
    ['31 bytes', makeVariant('ay', new Uint8Array(31))],
    ['a string', makeVariant('s', ascii('a'.repeat(31)))],
  ])('refuses %s', (_, value) => {
    const commit = { ...COMMIT, metadata: new Map([[COMPOSEFS_DIGEST_KEY, value]]) };
    expect(codeOf(() => statedDigest(commit, 'commit'))).toBe('refused digest-malformed');
  });
});

describe('signatureNames()', () => {
  it('names every kind of signature, and counts those it can read', () => {
    const metadata: Vardict = new Map([
      [ascii('ostree.sign.ed25519'), makeVariant('aay', [new Uint8Array(64), new Uint8Array(64)])],
      [ascii('ostree.sign.spki'), makeVariant('s', ascii('?'))],
      [ascii('ostree.gpgsigs'), makeVariant('aay', [new Uint8Array(3)])],
      [ascii('ostree.signature-of-nothing'), makeVariant('s', ascii('?'))],
    ]);
    expect(signatureNames(metadata)).toEqual([
      'ostree.sign.ed25519 (2)',
      'ostree.sign.spki (unreadable)',
      'ostree.gpgsigs (1)',
    ]);
  });
});

describe('withUnsignedEntries()', () => {
  it('carries what signs nothing, and never replaces an entry', () => {
    const base: Vardict = new Map([[ascii('note'), makeVariant('s', ascii('new'))]]);
    const other: Vardict = new Map([
      [ascii('note'), makeVariant('s', ascii('old'))],
      [ascii('ostree.gpgsigs'), makeVariant('aay', [])],
      [ascii('build'), makeVariant('s', ascii('77'))],
    ]);
    const merged = withUnsignedEntries(base, other);
    expect([...merged.keys()]).toEqual(['note', 'build']);
    expect(merged.get(ascii('note'))).toEqual(base.get(ascii('note')));
  });
});

describe('withSignatures()', () => {
  const one = new Uint8Array(64).fill(1);
  const two = new Uint8Array(64).fill(2);

  it('adds each signature once and keeps entries of other lengths', () => {
    const odd = new Uint8Array(5);
    const before: Vardict = new Map([[ED25519_SIGNATURES_KEY, makeVariant('aay', [odd, one])]]);
    const { metadata, added } = withSignatures(before, [one, two, two], 'commit');
    expect(added).toEqual([two]);
    const entry = metadata.get(ED25519_SIGNATURES_KEY);
    expect(entry && openVariant(entry, 'aay', 'signatures')).toEqual([odd, one, two]);
  });

  it('refuses to touch an entry of another type', () => {
    const before: Vardict = new Map([[ED25519_SIGNATURES_KEY, makeVariant('s', ascii('x'))]]);
    expect(codeOf(() => withSignatures(before, [one], 'commit'))).toBe('input commitmeta-malformed');
  });
});

describe('requireSameDigest()', () => {
  it('names both digests', () => {
    const [a, b] = [new Uint8Array(32).fill(0xaa), new Uint8Array(32).fill(0xbb)];
    expect(() => requireSameDigest('commit', a, a, 'seal')).not.toThrow();
    expect(() => requireSameDigest('commit', a, b, 'seal')).toThrow(
      `cannot seal commit: it names the image digest ${'aa'.repeat(32)}, but its objects make ${'bb'.repeat(32)}`,
    );
  });
});

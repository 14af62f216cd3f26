import { sha256 } from '@noble/hashes/sha2.js';
import { describe, expect, it } from 'vitest';
import { nodeHasher } from '../../src/adapters/hasher.ts';
import { hex } from '../../src/formats/encoding.ts';
import { buildVerityTree, verityDescriptor, verityDigest } from '../../src/formats/fsverity.ts';

function bytes(size: number): Uint8Array {
  return new Uint8Array(size).map((_, i) => i % 251);
}

describe('verityDigest()', () => {
  it("is the kernel's for an empty file", () => {
    // The value that `fsverity digest /dev/null` prints.
    const empty = '3d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95';
    expect(hex(verityDigest(new Uint8Array(0), nodeHasher))).toBe(empty);
  });

  it('does not depend on the hasher', () => {
    const noble = { sha256, sha512: nodeHasher.sha512 };
    expect(verityDigest(bytes(5000), noble)).toEqual(new Uint8Array(verityDigest(bytes(5000), nodeHasher)));
  });
});

describe('verityDescriptor()', () => {
  it('has each field at its place', () => {
    const descriptor = verityDescriptor(0x1234, new Uint8Array(32).fill(7));
    expect(hex(descriptor)).toBe(
      `01010c0000000000${'3412000000000000'}${'07'.repeat(32)}${'00'.repeat(208)}`,
    );
  });
});

describe('buildVerityTree()', () => {
  it.each([
    [0, []],
    [1, []],
    [4096, []],
    [4097, [4096]],
    [128 * 4096, [4096]],
    [128 * 4096 + 1, [8192, 4096]],
  ])('makes the levels of %i bytes', (size, lengths) => {
    expect(buildVerityTree(bytes(size), nodeHasher).levels.map((level) => level.length)).toEqual(lengths);
  });

  it('hashes padded blocks and pads the level with zeros', () => {
    const { levels, rootHash } = buildVerityTree(bytes(4097), nodeHasher);
    const last = new Uint8Array(4096);
    last[0] = 4096 % 251;
    const level = Buffer.concat([sha256(bytes(4096)), sha256(last), new Uint8Array(4096 - 64)]);
    expect(hex(levels[0] ?? new Uint8Array())).toBe(level.toString('hex'));
    expect(hex(rootHash)).toBe(hex(sha256(level)));
  });
});

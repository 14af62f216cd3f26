import { sha256 } from '@noble/hashes/sha2.js';
import { describe, expect, it } from 'vitest';
import { nodeHasher } from '../../src/adapters/hasher.ts';
import { hex } from '../../src/formats/encoding.ts';
import {
  buildVerityTree,
  formatVerityDigest,
  parseVerityDigest,
  verityDescriptor,
  verityDigest,
} from '../../src/formats/fsverity.ts';

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

describe('the text of a digest', () => {
  const short = new Uint8Array(32).fill(0xab);
  const long = new Uint8Array(64).fill(0xcd);

  it.each([
    [`fsverity-sha256-12:${'ab'.repeat(32)}`, { digest: short, algorithm: 'sha256', blockSize: 4096 }],
    [`fsverity-sha512-12:${'cd'.repeat(64)}`, { digest: long, algorithm: 'sha512', blockSize: 4096 }],
    [`fsverity-sha256-16:${'ab'.repeat(32)}`, { digest: short, algorithm: 'sha256', blockSize: 65536 }],
    [`fsverity-sha512-10:${'cd'.repeat(64)}`, { digest: long, algorithm: 'sha512', blockSize: 1024 }],
  ] as const)('%s is written and read', (text, value) => {
    const { digest, ...parameters } = value;
    expect(formatVerityDigest(digest, parameters)).toBe(text);
    expect(parseVerityDigest(text)).toEqual(value);
  });

  it('may be bare hex', () => {
    expect(parseVerityDigest('ab'.repeat(32))).toEqual({
      digest: short,
      algorithm: 'sha256',
      blockSize: 4096,
    });
    expect(parseVerityDigest('cd'.repeat(64)).algorithm).toBe('sha512');
  });

  it.each([
    ...['', 'ab'.repeat(31), 'ab'.repeat(33), `:${'ab'.repeat(32)}`, `fsverity-sha512-12:${'ab'.repeat(32)}`],
    ...[`fsverity-sha256-9:${'ab'.repeat(32)}`, `fsverity-sha256-17:${'ab'.repeat(32)}`],
    ...[`fsverity-md5-12:${'ab'.repeat(32)}`, `sha256:${'ab'.repeat(32)}`],
  ])('refuses "%s"', (text) => {
    expect(() => parseVerityDigest(text)).toThrow('cannot use digest');
  });

  it.each(['abc', 'zz'.repeat(32)])('refuses "%s", which is no hex', (text) => {
    expect(() => parseVerityDigest(text)).toThrow(/^cannot read digest/);
  });
});

import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { sha256, sha512 } from '@noble/hashes/sha2.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { nodeHasher } from '../../src/adapters/hasher.ts';
import { openLibrary } from '../../src/adapters/libc.ts';
import { sha256OfBytes } from '../../src/adapters/sha256.ts';
import {
  measureVerity,
  requireDigest,
  supportsVerity,
  VerityComputer,
  verityOfBytes,
} from '../../src/adapters/verity.ts';
import { hex, utf8 } from '../../src/formats/encoding.ts';
import { verityDigest } from '../../src/formats/fsverity.ts';
import { compileFileReader } from '../../tools/bundle.ts';

let folder = '';
let library: URL;

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'sealroot-verity-'));
  library = pathToFileURL(await compileFileReader(folder));
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function withFile<T>(content: Uint8Array, action: (fd: number) => T): T {
  const file = path.join(folder, 'file');
  writeFileSync(file, content);
  const fd = openSync(file, 'r');
  try {
    return action(fd);
  } finally {
    closeSync(fd);
  }
}

/** Differs in every block, so that swapped blocks are seen. */
function content(size: number): Uint8Array {
  const out = new Uint8Array(size);
  for (let i = 0; i < size; i++) out[i] = (i * 31 + (i >> 12) * 17) & 0xff;
  return out;
}

const BLOCK = 4096;
const SIZES = [
  ...[1, BLOCK - 1, BLOCK, BLOCK + 1, 31 * BLOCK + 1, 32 * BLOCK - 1, 32 * BLOCK, 32 * BLOCK + 1],
  ...[127 * BLOCK, 128 * BLOCK, 128 * BLOCK + 1, 129 * BLOCK + 5],
];

describe('verityOfBytes()', () => {
  it.each([
    ['sha256', 4096],
    ['sha512', 4096],
    ['sha256', 1024],
  ] as const)('agrees with formats/fsverity.ts, with the library and without: %s, blocks of %i bytes', (algorithm, blockSize) => {
    const parameters = { algorithm, blockSize };
    expect(openLibrary({}, library)).toBeDefined();
    for (const size of [...SIZES, 0]) {
      const data = content(size);
      const expected = hex(verityDigest(data, nodeHasher, parameters));
      const digests = [undefined, library].map((one) => hex(verityOfBytes(data, parameters, one)));
      expect({ size, digests }).toEqual({ size, digests: [expected, expected] });
    }
  });
});

describe('sha256OfBytes()', () => {
  it('is SHA-256, with the library and without', () => {
    for (const size of [0, 1, 55, 56, 63, 64, 65, 100_000]) {
      const data = content(size);
      const digests = [undefined, library].map((one) => hex(sha256OfBytes(data, one)));
      expect({ size, digests }).toEqual({ size, digests: [hex(sha256(data)), hex(sha256(data))] });
    }
  });
});

describe('VerityComputer', () => {
  it('agrees with formats/fsverity.ts around every limit, with the same buffers for all', () => {
    const computer = new VerityComputer();
    for (const size of [...SIZES, ...SIZES.toReversed(), 0]) {
      const data = content(size);
      const expected = hex(verityDigest(data, nodeHasher));
      expect({ size, digest: hex(computer.ofBytes(data)) }).toEqual({ size, digest: expected });
      const read = withFile(data, (fd) => computer.ofDescriptor(fd, size, 'file'));
      expect({ size, digest: hex(read) }).toEqual({ size, digest: expected });
    }
  });

  it.each([
    ['sha512', 4096],
    ['sha256', 1024],
    ['sha512', 65536],
  ] as const)('agrees with it for %s and blocks of %i bytes', (algorithm, blockSize) => {
    const parameters = { algorithm, blockSize };
    const computer = new VerityComputer(parameters);
    for (const size of [...SIZES, 0]) {
      const data = content(size);
      const expected = hex(verityDigest(data, nodeHasher, parameters));
      expect({ size, digest: hex(computer.ofBytes(data)) }).toEqual({ size, digest: expected });
    }
  });

  it('has the digest that the fsverity tool prints', () => {
    const computer = new VerityComputer();
    expect(hex(computer.ofBytes(utf8('hello\n')))).toBe(
      '9c76eecc7b76fcb46199cb27b90cf59a660e10575bb0412128905129d5b1c2aa',
    );
    expect(hex(computer.ofBytes(new Uint8Array(4097).fill(0x61)))).toBe(
      '18b155c0b6e054f3f7d22488ed15340e74dc161ce2d123e13eb685c3ce565f70',
    );
  });

  it('refuses a file that is shorter than it should be', () => {
    const read = () => withFile(content(100), (fd) => new VerityComputer().ofDescriptor(fd, 101, 'the file'));
    expect(read).toThrow('cannot read the file: it ends after 100 bytes, expected 101');
  });
});

describe('measureVerity()', () => {
  it('finds no digest on a file that never got one', () => {
    expect(withFile(content(10), (fd) => measureVerity(fd, 'file'))).toBeUndefined();
  });

  it('is not supported by /proc', () => {
    const fd = openSync('/proc/self/status', 'r');
    expect(supportsVerity(fd, '/proc/self/status')).toBe(false);
    closeSync(fd);
  });
});

describe('requireDigest()', () => {
  it('names both digests', () => {
    const digest = new Uint8Array(32);
    requireDigest(digest, new Uint8Array(32), 'file');
    expect(() => requireDigest(digest, new Uint8Array(32).fill(255), 'file')).toThrow(
      `cannot use file: its fs-verity digest is ${'00'.repeat(32)}, expected ${'ff'.repeat(32)}`,
    );
  });
});

describe('nodeHasher', () => {
  it('agrees with another implementation', () => {
    const data = content(1000);
    expect(hex(nodeHasher.sha256(data))).toBe(hex(sha256(data)));
    expect(hex(nodeHasher.sha512([data.subarray(0, 10), data.subarray(10)]))).toBe(hex(sha512(data)));
  });
});

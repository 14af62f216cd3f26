import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { nodeHasher } from '../../src/adapters/hasher.ts';
import { OfflineVerity } from '../../src/adapters/offline-verity.ts';
import { verityDigest } from '../../src/formats/fsverity.ts';

const folder = mkdtempSync(join(tmpdir(), 'sealroot-test-'));
afterAll(() => rmSync(folder, { recursive: true }));

function content(size: number): Buffer {
  const bytes = Buffer.alloc(size);
  for (let i = 0; i < size; i++) bytes[i] = (i * 31 + (i >> 8)) & 0xff;
  return bytes;
}

function sha256(...parts: Uint8Array[]): Buffer {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
}

describe('OfflineVerity.add()', () => {
  for (const size of [0, 1, 4096, 4097, 65535, 65536, 65537, 128 * 4096, 128 * 4096 + 1]) {
    it(`appends what the kernel would to a file of ${size} bytes`, () => {
      const path = join(folder, `file-${size}`);
      const data = content(size);
      writeFileSync(path, data);
      const digest = new OfflineVerity().add(path);
      expect(Buffer.from(digest)).toEqual(Buffer.from(verityDigest(data, nodeHasher)));

      const sealed = readFileSync(path);
      // Not toEqual: it takes seconds for half a megabyte.
      expect(sealed.subarray(0, size).equals(data)).toBe(true);
      expect(sealed.length % 4096).toBe(0);
      const descriptorSize = sealed.readUInt32LE(sealed.length - 4);
      expect(descriptorSize).toBe(256);
      const descriptor = sealed.subarray(sealed.length - 4096, sealed.length - 4096 + descriptorSize);
      expect(sha256(descriptor)).toEqual(Buffer.from(digest));
      expect(descriptor.readBigUInt64LE(8)).toBe(BigInt(size));

      const tree = sealed.subarray(Math.ceil(size / 65536) * 65536, sealed.length - 4096);
      const rootHash = descriptor.subarray(16, 48);
      if (size > 4096) {
        // The root level comes first, so the root hash is that of the tree's first block.
        expect(sha256(tree.subarray(0, 4096))).toEqual(rootHash);
        // The leaf level ends the tree: its first hash is that of the first data block.
        const leafBlocks = Math.ceil(Math.ceil(size / 4096) / 128);
        const leaves = tree.subarray(tree.length - leafBlocks * 4096);
        expect(leaves.subarray(0, 32)).toEqual(sha256(data.subarray(0, 4096)));
      } else {
        expect(tree.length).toBe(0);
      }
      if (size > 0)
        expect(sealed.subarray(size, Math.ceil(size / 65536) * 65536).every((b) => b === 0)).toBe(true);
    });
  }

  it('keeps mode and times', () => {
    const path = join(folder, 'kept');
    writeFileSync(path, 'content');
    chmodSync(path, 0o4755);
    utimesSync(path, 1, 2);
    new OfflineVerity().add(path);
    expect(statSync(path)).toMatchObject({ mode: 0o104755, mtimeMs: 2000, atimeMs: 1000 });
  });

  it('seals an inode once, whatever the path', () => {
    const path = join(folder, 'twice');
    writeFileSync(path, 'content');
    const verity = new OfflineVerity();
    const first = verity.add(path);
    const size = statSync(path).size;
    expect(verity.add(path)).toEqual(first);
    expect(verity.count).toBe(1);
    expect(statSync(path).size).toBe(size);
  });

  it('refuses a folder and a FIFO', () => {
    expect(() => new OfflineVerity().add(folder)).toThrow('EISDIR');
    const fifo = join(folder, 'fifo');
    execFileSync('mkfifo', [fifo]);
    expect(() => new OfflineVerity().add(fifo)).toThrow(
      expect.objectContaining({
        code: 'not-a-regular-file',
        message: `cannot seal ${fifo}: not a regular file`,
      }),
    );
  });
});

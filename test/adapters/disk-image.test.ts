import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createPartitionedImage, ext4Device, MIB, planLayout } from '../../src/adapters/disk-image.ts';

describe('planLayout()', () => {
  const layout = planLayout({ size: 2048 * MIB, espSize: 256 * MIB, espUuid: 'e', rootUuid: 'r' });

  it('puts the ESP at 1 MiB and the root behind it', () => {
    expect(layout.esp).toEqual({ name: 'esp', offset: MIB, size: 256 * MIB, uuid: 'e' });
    expect(layout.root.offset).toBe(257 * MIB);
  });

  it('leaves the last MiB to the backup GPT', () => {
    expect(layout.root.offset + layout.root.size).toBe(2047 * MIB);
  });
});

describe('ext4Device()', () => {
  it('names a file system in a file as e2fsprogs do', () => {
    const root = { name: 'root', offset: 4096, size: 8192, uuid: 'r' } as const;
    expect(ext4Device('/tmp/disk.raw', root)).toBe('/tmp/disk.raw?offset=4096');
  });
});

describe('createPartitionedImage()', () => {
  it('writes over no file, and through no link that somebody has put there', () => {
    const folder = mkdtempSync(join(tmpdir(), 'sealroot-disk-image-'));
    try {
      const [file, link] = [join(folder, 'file'), join(folder, 'link')];
      writeFileSync(file, 'mine');
      symlinkSync(file, link);
      const layout = planLayout({ size: 64 * MIB, espSize: 34 * MIB, espUuid: 'e', rootUuid: 'r' });
      for (const path of [file, link]) {
        expect(() => createPartitionedImage(path, layout)).toThrow(
          expect.objectContaining({ code: 'EEXIST' }),
        );
      }
      expect(readFileSync(file, 'utf8')).toBe('mine');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

import { describe, expect, it } from 'vitest';
import { ext4Device, MIB, planLayout } from '../../src/adapters/disk-image.ts';

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

import { describe, expect, it } from 'vitest';
import { characterDevice, cpioArchive, directory, file, symlink } from '../../vm-tests/cpio.ts';

/** The header of initramfs/buffer-format.rst, field by field, for inode 1 with mode 0644 and three bytes of data. */
const ONE_FILE = [
  '070701',
  '00000001', // inode
  '000081a4', // S_IFREG 0644
  '00000000',
  '00000000',
  '00000001',
  '00000000', // mtime
  '00000003', // size
  '00000000',
  '00000000',
  '00000000',
  '00000000',
  '00000004', // name with its NUL
  '00000000',
].join('');

describe('cpioArchive()', () => {
  it('writes header, padded name and padded data', () => {
    const archive = cpioArchive([file('a/b', 'xyz')]);
    expect(archive.subarray(0, 110).toString()).toBe(ONE_FILE);
    // 110 + "a/b\0" = 114, padded to 116; 3 bytes of data padded to 120.
    expect(archive.subarray(110, 120)).toEqual(Buffer.from('a/b\0\0\0xyz\0'));
    expect(archive.subarray(120, 126).toString()).toBe('070701');
  });

  it('ends with the trailer at a multiple of 512, so that archives can follow one another', () => {
    for (const size of [0, 1, 2, 3, 4, 511, 512, 513]) {
      const archive = cpioArchive([file('f', Buffer.alloc(size, 1))]);
      expect(archive.length % 512).toBe(0);
      expect(archive.includes('TRAILER!!!\0')).toBe(true);
    }
  });

  it('gives each kind of file its type, permissions and device', () => {
    const field = (archive: Buffer, index: number) =>
      Number.parseInt(archive.subarray(6 + 8 * index, 14 + 8 * index).toString(), 16);
    expect(field(cpioArchive([directory('d')]), 1)).toBe(0o040755);
    expect(field(cpioArchive([symlink('l', 'target')]), 1)).toBe(0o120777);
    const device = cpioArchive([characterDevice('dev/console', 5, 1)]);
    expect([field(device, 1), field(device, 9), field(device, 10)]).toEqual([0o020600, 5, 1]);
  });
});

import { describe, expect, it } from 'vitest';
import { moduleClosure } from '../../vm-tests/kernel-modules.ts';

const DEPENDENCIES = [
  'kernel/fs/erofs/erofs.ko.xz: kernel/lib/libcrc32c.ko.xz kernel/fs/netfs.ko.xz',
  'kernel/lib/libcrc32c.ko.xz:',
  'kernel/fs/netfs.ko.xz: kernel/lib/libcrc32c.ko.xz',
  'kernel/drivers/block/virtio_blk.ko.xz:',
  'kernel/drivers/block/dm-mod.ko.xz:',
].join('\n');
const BUILTIN = 'kernel/fs/ext4/ext4.ko\n';

describe('moduleClosure()', () => {
  it('puts what is needed before what needs it, each once', () => {
    expect(moduleClosure(['virtio_blk', 'erofs'], DEPENDENCIES, BUILTIN)).toEqual([
      'kernel/drivers/block/virtio_blk.ko.xz',
      'kernel/lib/libcrc32c.ko.xz',
      'kernel/fs/netfs.ko.xz',
      'kernel/fs/erofs/erofs.ko.xz',
    ]);
  });

  it('leaves out what is built in', () => {
    expect(moduleClosure(['ext4'], DEPENDENCIES, BUILTIN)).toEqual([]);
  });

  it('takes - and _ for the same', () => {
    expect(moduleClosure(['dm_mod'], DEPENDENCIES, BUILTIN)).toEqual(['kernel/drivers/block/dm-mod.ko.xz']);
  });

  it('refuses a module that the kernel does not have', () => {
    expect(() => moduleClosure(['btrfs'], DEPENDENCIES, BUILTIN)).toThrow('cannot load module btrfs');
  });
});

/**
 * One bit of the image flipped on the disk, in its data and in its verity metadata. The image's name, size and
 * fs-verity flag stay; the kernel finds the bit when it reads the block, or, in the descriptor, as another digest.
 */
import { roundUp } from '../../src/formats/bytes.ts';
import { ensureBaseDisk } from '../base-disk.ts';
import type { VmCase } from '../case.ts';
import { RefusalCase } from '../refusal.ts';

/** The EROFS superblock, which every mount reads (EROFS_SUPER_OFFSET). */
const SUPERBLOCK = 1024;
/** Root hash in struct fsverity_descriptor. */
const ROOT_HASH = 16;
const BLOCK = 4096;

export default {
  title: 'an image with one bit flipped is refused',
  deadlineSeconds: 1800,
  async run(context) {
    const refusal = new RefusalCase(context, await ensureBaseDisk());
    const { disk, imagePath } = refusal;
    const size = disk.read(imagePath).length;
    const tree = roundUp(size, 65536);
    await refusal.bootsUntampered();

    disk.flipBit(imagePath, SUPERBLOCK);
    await refusal.isRefused('bit of the superblock', 'image-unreadable');

    refusal.restore();
    // The root level stands first; each of its hashes covers 128 blocks of leaf hashes or of data.
    disk.flipBit(imagePath, tree);
    await refusal.isRefused('bit of the Merkle tree', 'image-unreadable');

    refusal.restore();
    disk.flipBit(imagePath, tree + merkleBlocks(size) * BLOCK + ROOT_HASH);
    await refusal.isRefused('bit of the verity descriptor', 'image-digest-mismatch');
  },
} satisfies VmCase;

/** Hash blocks above `size` bytes of data: 128 hashes in each. */
function merkleBlocks(size: number): number {
  let blocks = Math.ceil(size / BLOCK);
  let total = 0;
  while (blocks > 1) {
    blocks = Math.ceil(blocks / 128);
    total += blocks;
  }
  return total;
}

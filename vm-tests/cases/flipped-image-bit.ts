/**
 * One bit of the image flipped on the disk, in its data and in its verity metadata. The image's name, size and
 * fs-verity flag stay; the kernel finds the bit when it reads the block, or, in the descriptor, as another digest.
 */
import { ensureBaseDisk } from '../base-disk.ts';
import type { VmCase } from '../case.ts';
import { RefusalCase } from '../refusal.ts';
import { verityPlaces } from '../tamper.ts';

/** The EROFS superblock, which every mount reads (EROFS_SUPER_OFFSET). */
const SUPERBLOCK = 1024;
/** Root hash in struct fsverity_descriptor. */
const ROOT_HASH = 16;

export default {
  title: 'an image with one bit flipped is refused',
  deadlineSeconds: 1800,
  async run(context) {
    const refusal = new RefusalCase(context, await ensureBaseDisk());
    const { disk, imagePath } = refusal;
    const { tree, descriptor } = verityPlaces(disk.read(imagePath).length);
    await refusal.bootsUntampered();

    disk.flipBit(imagePath, SUPERBLOCK);
    await refusal.isRefused('bit of the superblock', 'image-unreadable');

    refusal.restore();
    disk.flipBit(imagePath, tree);
    await refusal.isRefused('bit of the Merkle tree', 'image-unreadable');

    refusal.restore();
    disk.flipBit(imagePath, descriptor + ROOT_HASH);
    await refusal.isRefused('bit of the verity descriptor', 'image-digest-mismatch');
  },
} satisfies VmCase;

/** The EROFS superblock: what has to be right before anything else of an image can be read. */

import type { Findings } from './erofs-findings.ts';
import { BLOCK_SIZE, BLOCK_SIZE_LOG2, EROFS_MAGIC, SUPER } from './erofs-layout.ts';

/** False when nothing behind the superblock can be made sense of. */
export function checkSuperblock(view: DataView, findings: Findings): boolean {
  const length = view.byteLength;
  if (length < SUPER.END) {
    findings.add(
      'erofs-truncated',
      length,
      `the image ends before its superblock does, with ${length} bytes,`,
    );
    return false;
  }
  if (view.getUint32(SUPER.MAGIC, true) !== EROFS_MAGIC) {
    findings.add('erofs-magic-invalid', SUPER.MAGIC, 'no EROFS magic');
    return false;
  }
  const features = view.getUint32(SUPER.FEATURE_INCOMPAT, true);
  if (features !== 0) {
    const fact = `incompatible features 0x${features.toString(16)} are set`;
    findings.add('erofs-feature-unknown', SUPER.FEATURE_INCOMPAT, fact);
    return false;
  }
  const blockBits = view.getUint8(SUPER.BLKSZBITS);
  if (blockBits !== BLOCK_SIZE_LOG2) {
    const fact = `the block size is 2^${blockBits}, not 2^12,`;
    findings.add('erofs-block-size-unsupported', SUPER.BLKSZBITS, fact);
    return false;
  }
  const metaBlock = view.getUint32(SUPER.META_BLKADDR, true);
  if (metaBlock !== 0) {
    const fact = `inode numbers count from block ${metaBlock}, not 0,`;
    findings.add('erofs-meta-block-unsupported', SUPER.META_BLKADDR, fact);
    return false;
  }
  const blocks = view.getUint32(SUPER.BLOCKS, true);
  if (blocks * BLOCK_SIZE !== length) {
    const fact = `${blocks} blocks are declared, but the image has ${length} bytes,`;
    findings.add('erofs-size-mismatch', SUPER.BLOCKS, fact);
  }
  return true;
}

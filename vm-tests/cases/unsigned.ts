/** A commit that nobody signed: without detached metadata, and with detached metadata that hold no signature. */
import { encodeCommitMeta } from '../../src/formats/ostree-objects.ts';
import { ensureBaseDisk } from '../base-disk.ts';
import type { VmCase } from '../case.ts';
import { RefusalCase } from '../refusal.ts';

export default {
  title: 'an unsigned commit is refused',
  deadlineSeconds: 1800,
  async run(context) {
    const refusal = new RefusalCase(context, await ensureBaseDisk());
    const { disk, commitMetaPath } = refusal;
    await refusal.bootsUntampered();
    disk.remove(commitMetaPath);
    await refusal.isRefused('no detached metadata', 'commitmeta-missing');
    disk.replace(commitMetaPath, encodeCommitMeta(new Map()), { verity: false });
    await refusal.isRefused('detached metadata without a signature', 'signatures-missing');
  },
} satisfies VmCase;

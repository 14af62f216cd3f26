/**
 * A bit of a file's content flipped on the disk. The boot does not read the file, so it succeeds; whoever reads the
 * file gets EIO and never the wrong byte.
 */
import { ensureBaseDisk } from '../base-disk.ts';
import type { VmCase } from '../case.ts';
import { RefusalCase } from '../refusal.ts';
import { READ_VICTIM, requireReadable, requireUnreadable, victimObject } from '../victim.ts';

export default {
  title: 'a file with one bit flipped cannot be read',
  deadlineSeconds: 1800,
  async run(context) {
    const base = await ensureBaseDisk();
    const refusal = new RefusalCase(context, base);
    const { disk } = refusal;
    const change = { files: { script: READ_VICTIM } };
    const object = victimObject(disk, refusal.imagePath);
    const content = disk.read(object);
    await context.step('the untampered disk boots and the file can be read', async () => {
      requireReadable(await refusal.boot('untampered', change), base, content);
    });

    disk.flipBit(object, content.length - 1);
    const inode = disk.inode(object);
    const corrupted = new RegExp(`fs-verity \\(vda2, inode ${inode}\\): FILE CORRUPTED!`);
    await context.step('one bit flipped: the disk boots, reading fails with EIO', async () => {
      requireUnreadable(await refusal.boot('flipped', change), base, corrupted);
    });
  },
} satisfies VmCase;

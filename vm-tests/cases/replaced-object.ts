/**
 * Another file in an object's place: the same bytes without fs-verity, other bytes without, other bytes with. The
 * image names the object's digest, and the overlay refuses to open anything that does not have it.
 */
import { ensureBaseDisk } from '../base-disk.ts';
import type { VmCase } from '../case.ts';
import { RefusalCase } from '../refusal.ts';
import { READ_VICTIM, requireReadable, requireUnreadable, victimObject } from '../victim.ts';

export default {
  title: 'a replaced file cannot be read',
  deadlineSeconds: 1800,
  async run(context) {
    const base = await ensureBaseDisk();
    const refusal = new RefusalCase(context, base);
    const { disk } = refusal;
    const change = { files: { script: READ_VICTIM } };
    const object = victimObject(disk, refusal.imagePath);
    const content = disk.read(object);
    const other = Buffer.from(content);
    other.write('other', 100);
    await context.step('the untampered disk boots and the file can be read', async () => {
      requireReadable(await refusal.boot('untampered', change), base, content);
    });

    const none = /overlayfs: lower file '[^']*\.file' has no fs-verity digest/;
    const wrong = /overlayfs: lower file '[^']*\.file' has the wrong fs-verity digest/;
    const variants = [
      { name: 'same-without-verity', data: content, verity: false, kernelSays: none },
      { name: 'other-without-verity', data: other, verity: false, kernelSays: none },
      { name: 'other-with-verity', data: other, verity: true, kernelSays: wrong },
    ];
    for (const { name, data, verity, kernelSays } of variants) {
      disk.replace(object, data, { verity });
      disk.requireClean();
      await context.step(`${name}: the disk boots, reading fails with EIO`, async () => {
        requireUnreadable(await refusal.boot(name, change), base, kernelSays);
      });
    }
  },
} satisfies VmCase;

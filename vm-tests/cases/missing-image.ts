/** The deployment without its image, under dracut and systemd: the unit fails and nothing follows it. */
import { ensureBaseDisk } from '../base-disk.ts';
import type { VmCase } from '../case.ts';
import { SystemRefusalCase } from '../refusal.ts';

export default {
  title: 'a deployment without its image is refused',
  deadlineSeconds: 3600,
  async run(context) {
    const refusal = new SystemRefusalCase(context, await ensureBaseDisk());
    await refusal.systemBootsUntampered();
    refusal.disk.remove(refusal.imagePath);
    refusal.disk.requireClean();
    await refusal.systemIsRefused('no image', 'image-missing');
  },
} satisfies VmCase;

/**
 * Another file in the image's place: the same bytes without fs-verity, other bytes with it, the first half of the
 * bytes with it, and the image of another commit that the same key has signed.
 */
import { anotherSealedImage, imageWithBackdoor } from '../another-image.ts';
import { ensureBaseDisk } from '../base-disk.ts';
import type { VmCase } from '../case.ts';
import { RefusalCase } from '../refusal.ts';

export default {
  title: 'another image in the place of the signed one is refused',
  deadlineSeconds: 1800,
  async run(context) {
    const base = await ensureBaseDisk();
    const refusal = new RefusalCase(context, base);
    const { disk, imagePath } = refusal;
    const image = disk.read(imagePath);
    const other = await anotherSealedImage(base, context.folder);
    await refusal.bootsUntampered();

    disk.replace(imagePath, image, { verity: false });
    disk.requireClean();
    await refusal.isRefused('the same bytes without fs-verity', 'image-verity-missing');

    disk.replace(imagePath, imageWithBackdoor(image), { verity: true });
    disk.requireClean();
    await refusal.isRefused('other bytes with fs-verity', 'image-digest-mismatch');

    disk.replace(imagePath, image.subarray(0, image.length / 2), { verity: true });
    await refusal.isRefused('the first half with fs-verity', 'image-digest-mismatch');

    disk.replace(imagePath, other, { verity: true });
    await refusal.isRefused('the image of another sealed commit', 'image-digest-mismatch');

    disk.replace(imagePath, image, { verity: true });
    await context.step('the same bytes with fs-verity, written anew, boot', async () => {
      await refusal.bootsAgain('rewritten');
    });
  },
} satisfies VmCase;

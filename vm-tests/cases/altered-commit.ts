/**
 * A commit that names the attacker's image, complete in itself: object, detached metadata, deployment folder, link
 * of the boot entry and image all carry the new checksum and the new digest. The same disk boots when the trusted key
 * signs the altered commit, which proves that the signature, and nothing else, is what refuses it.
 */

import { strict as assert } from 'node:assert';
import { nodeHasher } from '../../src/adapters/hasher.ts';
import { hex } from '../../src/formats/encoding.ts';
import { verityDigest } from '../../src/formats/fsverity.ts';
import { BACKDOOR, imageWithBackdoor } from '../another-image.ts';
import { ensureBaseDisk } from '../base-disk.ts';
import type { VmCase } from '../case.ts';
import { commitOfImage, deployInstead } from '../other-commit.ts';
import { captured, requireBooted } from '../outcome.ts';
import { objectPath, PROVE_ROOT, RefusalCase } from '../refusal.ts';

export default {
  title: 'a commit altered without the key is refused, whatever else fits',
  deadlineSeconds: 1800,
  async run(context) {
    const base = await ensureBaseDisk();
    const refusal = new RefusalCase(context, base);
    const { disk } = refusal;
    const looksForBackdoor = {
      files: { script: `${PROVE_ROOT}\ncapture backdoor cat /usr/backdoor\nexit 0\n` },
    };
    await refusal.bootsUntampered(looksForBackdoor);

    const image = imageWithBackdoor(disk.read(refusal.imagePath));
    const altered = commitOfImage(refusal, image);
    const { checksum: commit } = altered;
    assert.notEqual(commit, base.commit);
    deployInstead(refusal, { ...altered, commitmeta: disk.read(refusal.commitMetaPath) }, image);
    disk.requireClean();
    await refusal.isRefused(
      'the altered commit with the old signature',
      'signature-none-valid',
      looksForBackdoor,
    );

    disk.replace(objectPath(commit, 'commitmeta'), altered.commitmeta, { verity: false });
    await context.step('the same, signed by the trusted key, boots into the altered image', async () => {
      const machine = await refusal.boot('signed-after-all', looksForBackdoor);
      requireBooted(machine, { commit, digest: hex(verityDigest(image, nodeHasher)) });
      assert.equal(captured(machine, 'backdoor').output, BACKDOOR);
    });
  },
} satisfies VmCase;

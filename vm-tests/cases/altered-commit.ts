/**
 * A commit that names the attacker's image, complete in itself: object, detached metadata, deployment folder, link
 * of the boot entry and image all carry the new checksum and the new digest. The same disk boots when the trusted key
 * signs the altered commit, which proves that the signature, and nothing else, is what refuses it.
 */

import { strict as assert } from 'node:assert';
import { createHash } from 'node:crypto';
import { nodeHasher } from '../../src/adapters/hasher.ts';
import { loadSecretKey, sign } from '../../src/adapters/keys.ts';
import { hex } from '../../src/formats/encoding.ts';
import { verityDigest } from '../../src/formats/fsverity.ts';
import {
  encodeCommit,
  encodeCommitMeta,
  parseCommit,
  parseCommitMeta,
} from '../../src/formats/ostree-objects.ts';
import { withSeal, withSignatures } from '../../src/formats/sealing.ts';
import { BACKDOOR, imageWithBackdoor } from '../another-image.ts';
import { ensureBaseDisk } from '../base-disk.ts';
import type { VmCase } from '../case.ts';
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
    const digest = verityDigest(image, nodeHasher);
    const original = disk.read(refusal.commitPath);
    const altered = encodeCommit(withSeal(parseCommit(original), digest));
    const commit = createHash('sha256').update(altered).digest('hex');
    assert.notEqual(commit, base.commit);
    const oldMeta = disk.read(refusal.commitMetaPath);
    refusal.renameDeployment(commit);
    disk.replace(`${refusal.deploymentOf(commit)}/.ostree.cfs`, image, { verity: true });
    disk.makeDirectory(`/ostree/repo/objects/${commit.slice(0, 2)}`);
    disk.replace(objectPath(commit, 'commit'), altered, { verity: false });
    disk.replace(objectPath(commit, 'commitmeta'), oldMeta, { verity: false });
    disk.requireClean();
    await refusal.isRefused(
      'the altered commit with the old signature',
      'signature-none-valid',
      looksForBackdoor,
    );

    const signature = sign(loadSecretKey(base.keys.secretKey), altered);
    const signed = withSignatures(parseCommitMeta(oldMeta), [signature], 'the altered commit').metadata;
    disk.replace(objectPath(commit, 'commitmeta'), encodeCommitMeta(signed), { verity: false });
    await context.step('the same, signed by the trusted key, boots into the altered image', async () => {
      const machine = await refusal.boot('signed-after-all', looksForBackdoor);
      requireBooted(machine, { commit, digest: hex(digest) });
      assert.equal(captured(machine, 'backdoor').output, BACKDOOR);
    });
  },
} satisfies VmCase;

/**
 * A policy with rebuild-image=yes: where the image is missing or is not the signed one, prepare-root builds it again from
 * the commit's objects, in memory, and boots that; where the objects do not give the signed image, it refuses as ever.
 */
import { strict as assert } from 'node:assert';
import { progress } from '../../tools/cache.ts';
import { imageWithBackdoor } from '../another-image.ts';
import { ensureBaseDisk } from '../base-disk.ts';
import type { VmCase } from '../case.ts';
import { captured, refusalOf, requireBooted, requireRefused } from '../outcome.ts';
import { PROVE_ROOT, RefusalCase, SEALED_POLICY } from '../refusal.ts';

const REBUILDING = {
  files: {
    policy: `${SEALED_POLICY}[sealroot]\nrebuild-image=yes\n`,
    script: `${PROVE_ROOT}capture booted cat /run/sealroot/booted.json
capture listing sh -c 'ls -lnR /usr | cksum'
`,
  },
};

interface Booted {
  readonly rebuiltFor?: { readonly code: string };
  readonly microseconds: Readonly<Record<string, number>>;
}

export default {
  title: 'an image that is missing or wrong is built again, if the policy says so',
  deadlineSeconds: 2400,
  async run(context) {
    const base = await ensureBaseDisk();
    const refusal = new RefusalCase(context, base);
    const { disk, imagePath } = refusal;
    const image = disk.read(imagePath);
    let listing = '';
    const boots = (title: string, code: string | undefined) =>
      context.step(title, async () => {
        const machine = await refusal.boot(title.replaceAll(/[^\w]+/g, '-'), REBUILDING);
        requireBooted(machine, base);
        const booted = JSON.parse(captured(machine, 'booted').output) as Booted;
        assert.equal(booted.rebuiltFor?.code, code);
        const warned = machine.console.includes(`warning: cannot use the image on the disk: ${code}: `);
        assert.equal(warned, code !== undefined);
        progress(`${title}: the image took ${Math.round((booted.microseconds.image ?? 0) / 1000)} ms`);
        const { output } = captured(machine, 'listing');
        listing ||= output;
        assert.equal(output, listing);
      });
    await boots('the untampered disk boots from its own image', undefined);

    disk.remove(imagePath);
    await boots('without an image', 'image-missing');
    await refusal.isRefused('without an image, by the usual policy', 'image-missing');

    disk.replace(imagePath, imageWithBackdoor(image), { verity: true });
    await boots('with another image', 'image-digest-mismatch');

    disk.replace(imagePath, image, { verity: true });
    disk.flipBit(imagePath, 1024);
    await boots('with a damaged image', 'image-unreadable');

    const isNotRebuilt = (title: string, reason: RegExp) =>
      context.step(`${title}: refused with image-missing`, async () => {
        const machine = await refusal.boot(title.replaceAll(/[^\w]+/g, '-'), REBUILDING);
        requireRefused(machine, 'image-missing');
        assert.match(refusalOf(machine).message, reason);
      });
    disk.remove(imagePath);
    const object = anObject(disk);
    // The kernel vouches for it as for any other; only the image's digest tells.
    disk.replace(object, Buffer.from('another file'), { verity: true });
    await isNotRebuilt(
      'with another object',
      /and building it again failed: the digest of the image built from the objects is [0-9a-f]{64}/,
    );

    disk.remove(object);
    await isNotRebuilt('without an object', /and building it again failed: cannot open .*\.file: ENOENT/);
  },
} satisfies VmCase;

/** The first file object of the repository. */
function anObject(disk: RefusalCase['disk']): string {
  const objects = '/ostree/repo/objects';
  for (const folder of disk.list(objects)) {
    const name = disk.list(`${objects}/${folder}`).find((one) => one.endsWith('.file'));
    if (name !== undefined) return `${objects}/${folder}/${name}`;
  }
  throw new Error('cannot find a file object');
}

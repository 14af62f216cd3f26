/**
 * ostree-prepare-root takes orders from the kernel command line; ours does not. All of its switches are there in
 * every boot of this case: the untampered disk is sealed all the same, and a tampered one is refused all the same.
 */
import { ensureBaseDisk } from '../base-disk.ts';
import type { VmCase } from '../case.ts';
import { RefusalCase } from '../refusal.ts';

/** Everything that ever loosened a check: ostree-prepare-root(1), libostree's otcore, composefs' own setup-root. */
const WEAKENING = [
  ...['0', 'no', 'off', 'false', 'maybe', 'yes', 'verity'].map(
    (value) => `ostree.prepare-root.composefs=${value}`,
  ),
  ...[
    'ostree.prepare-root.sysroot.readonly=false',
    'ostree-prepare-root.composefs=0',
    'composefs.enabled=no',
  ],
  ...['composefs=?', 'sealroot=0', 'sealroot.enabled=no', 'rd.sealroot=0', 'systemd.volatile=overlay'],
];

export default {
  title: 'no kernel argument turns sealing off',
  deadlineSeconds: 1800,
  async run(context) {
    const refusal = new RefusalCase(context, await ensureBaseDisk());
    const { disk, imagePath, commitMetaPath } = refusal;
    const change = { commandLine: (line: string) => [...WEAKENING, line, ...WEAKENING].join(' ') };
    await refusal.bootsUntampered(change);

    const image = disk.read(imagePath);
    disk.replace(imagePath, image, { verity: false });
    await refusal.isRefused('image without fs-verity', 'image-verity-missing', change);

    disk.remove(imagePath);
    await refusal.isRefused('no image', 'image-missing', change);

    disk.remove(commitMetaPath);
    await refusal.isRefused('no signature', 'commitmeta-missing', change);
  },
} satisfies VmCase;

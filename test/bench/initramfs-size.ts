/**
 * What a dracut module adds to the initramfs, compressed: sealroot's beside ostree's own, each against an image with
 * the same kernel modules and neither of them. Trixie's ostree-prepare-root has no composefs and checks no signature.
 */
import { rename, stat } from 'node:fs/promises';
import path from 'node:path';
import { ensureTestKeys } from '../../vm-tests/base-disk.ts';
import { buildInitramfs, installSealedBoot, TREE_PATHS } from '../../vm-tests/initramfs.ts';
import { ensureTrixie, kernelVersionOf } from '../../vm-tests/os-tree.ts';
import { withLayer } from '../../vm-tests/tree-layer.ts';
import { bytes, compared, type Row } from './figures.ts';

/** The modules both need anyway; they are the kernel's and not counted. */
const DRIVERS = ['erofs', 'overlay', 'loop'];
const LIMIT_BYTES = 300_000;

export async function initramfsRows(prepareRoot: string): Promise<Row[]> {
  const trixie = await ensureTrixie();
  const kernelVersion = await kernelVersionOf(trixie);
  return await withLayer(trixie, async (tree) => {
    const { publicKey } = await ensureTestKeys('trusted');
    await installSealedBoot(tree, { prepareRoot, publicKey });
    const size = async (name: string, options: { add?: string[]; omit?: string[] }): Promise<number> => {
      const output = `/tmp/${name}.img`;
      await buildInitramfs(tree, { kernelVersion, output, drivers: DRIVERS, ...options });
      return (await stat(path.join(tree, output))).size;
    };
    const sealroot = await size('sealroot', {});
    // Our configuration file asks for our module and leaves ostree's out; without it the choice is free.
    const configuration = path.join(tree, TREE_PATHS.dracutConfiguration);
    await rename(configuration, `${configuration}.off`);
    const neither = await size('neither', { omit: ['ostree', 'overlayfs', 'overlay-root'] });
    const ostree = await size('ostree', { add: ['ostree'], omit: ['overlayfs', 'overlay-root'] });
    return [
      compared(
        `growth, compressed, over ${bytes(neither)}`,
        [sealroot - neither, ostree - neither],
        bytes,
        bytes(LIMIT_BYTES),
      ),
    ];
  });
}

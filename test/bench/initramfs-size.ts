/**
 * What a dracut module adds to the initramfs, compressed: sealroot's beside ostree's own, each against an image with
 * the same kernel modules and neither of them. Trixie's ostree-prepare-root has no composefs and checks no signature.
 */
import { rename, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { CACHE_DIR } from '../../tools/cache.ts';
import { buildInitramfs, installSealedBoot, TREE_PATHS } from '../../vm-tests/initramfs.ts';
import { ensureTrixie, kernelVersionOf } from '../../vm-tests/os-tree.ts';
import { withLayer } from '../../vm-tests/tree-layer.ts';

/** The modules both need anyway; they are the kernel's and not counted. */
const DRIVERS = ['erofs', 'overlay', 'loop'];
const LIMIT_BYTES = 300_000;

async function main(): Promise<void> {
  const trixie = await ensureTrixie();
  const kernelVersion = await kernelVersionOf(trixie);
  await withLayer(trixie, async (tree) => {
    const publicKey = path.join(tree, 'tmp/key.pub');
    await writeFile(publicKey, `${Buffer.alloc(32, 7).toString('base64')}\n`);
    const prepareRoot = path.join(CACHE_DIR, 'initrd/sealroot-prepare-root');
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
    const { size: binary } = await stat(prepareRoot);
    console.log(`initramfs without either module  ${neither} bytes`);
    console.log(`sealroot's module                +${sealroot - neither} bytes (limit ${LIMIT_BYTES})`);
    console.log(`ostree's module                  +${ostree - neither} bytes`);
    console.log(`sealroot-prepare-root            ${binary} bytes, uncompressed`);
  });
}

await main();

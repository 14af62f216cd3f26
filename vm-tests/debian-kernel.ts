/**
 * Kernels of older Debians, for guests without an OS of their own. All of them have fs-verity. That of bookworm, 6.1, has an
 * EROFS that mounts no files and an overlayfs with neither data-only layers nor verity; bullseye's, 5.10, has no
 * mount_setattr(2) either.
 */
import { cp, mkdir } from 'node:fs/promises';
import path from 'node:path';
import { ensureCached } from '../tools/cache.ts';
import { bootstrap, discardTree, runIn } from '../tools/chroots.ts';
import { type Kernel, kernelOfTree } from './kernel-modules.ts';
import { ensureTrixie } from './os-tree.ts';

const PACKAGE = 'linux-image-cloud-amd64';

/** Its image and modules. */
export async function ensureDebianKernel(suite: 'bookworm' | 'bullseye'): Promise<Kernel> {
  const tree = await ensureCached({
    kind: 'trees',
    name: `${suite}-kernel`,
    recipe: { suite, package: PACKAGE, version: 1 },
    build: (target) => unpackKernel(suite, target),
    discard: discardTree,
  });
  return await kernelOfTree(tree);
}

async function unpackKernel(suite: string, tree: string): Promise<void> {
  const unpacked = `${tree}.package`;
  await discardTree(unpacked);
  try {
    // Only unpacked: installing it would make an initramfs.
    await bootstrap(unpacked, { suite, packages: [PACKAGE], extra: ['--variant=extract'] });
    await mkdir(path.join(tree, 'usr/lib'), { recursive: true });
    await cp(path.join(unpacked, 'lib/modules'), path.join(tree, 'usr/lib/modules'), { recursive: true });
    const { version, image } = await kernelOfTree(tree);
    await cp(path.join(unpacked, 'boot', `vmlinuz-${version}`), image);
    await runIn(await ensureTrixie(), ['depmod', '--basedir=/mnt/usr', version], { binds: [[tree, '/mnt']] });
  } finally {
    await discardTree(unpacked);
  }
}

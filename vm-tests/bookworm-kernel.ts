/**
 * The oldest kernel that Debian supports: 6.1 of bookworm, whose EROFS mounts no files and whose overlayfs has neither
 * data-only layers nor verity, but which has fs-verity. For guests without an OS of their own.
 */
import { cp, mkdir } from 'node:fs/promises';
import path from 'node:path';
import { ensureCached } from '../tools/cache.ts';
import { bootstrap, discardTree, runIn } from '../tools/chroots.ts';
import { type Kernel, kernelOfTree } from './kernel-modules.ts';
import { ensureTrixie } from './os-tree.ts';

const SUITE = 'bookworm';
const PACKAGE = 'linux-image-cloud-amd64';

/** Its image and modules. */
export async function ensureBookwormKernel(): Promise<Kernel> {
  const tree = await ensureCached({
    kind: 'trees',
    name: 'bookworm-kernel',
    recipe: { suite: SUITE, package: PACKAGE, version: 1 },
    build: unpackKernel,
    discard: discardTree,
  });
  return await kernelOfTree(tree);
}

async function unpackKernel(tree: string): Promise<void> {
  const unpacked = `${tree}.package`;
  await discardTree(unpacked);
  try {
    // Only unpacked: installing it would make an initramfs.
    await bootstrap(unpacked, { suite: SUITE, packages: [PACKAGE], extra: ['--variant=extract'] });
    await mkdir(path.join(tree, 'usr/lib'), { recursive: true });
    await cp(path.join(unpacked, 'lib/modules'), path.join(tree, 'usr/lib/modules'), { recursive: true });
    const { version, image } = await kernelOfTree(tree);
    await cp(path.join(unpacked, 'boot', `vmlinuz-${version}`), image);
    await runIn(await ensureTrixie(), ['depmod', '--basedir=/mnt/usr', version], { binds: [[tree, '/mnt']] });
  } finally {
    await discardTree(unpacked);
  }
}

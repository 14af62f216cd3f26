/** The kernel that guests without an OS of their own run: that of the trixie tree. */
import { type Kernel, kernelOfTree } from './kernel-modules.ts';
import { ensureTrixie } from './os-tree.ts';

let kernel: Promise<Kernel> | undefined;

export function testKernel(): Promise<Kernel> {
  kernel ??= ensureTrixie().then(kernelOfTree);
  return kernel;
}

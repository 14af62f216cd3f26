/** A guest without a disk, for the cases that test the harness itself. */
import path from 'node:path';
import type { CaseContext } from './case.ts';
import { fastBoot } from './fast-boot.ts';
import { testKernel } from './guest-kernel.ts';
import { requireDone } from './outcome.ts';

/** Boots, runs `script` (guest/events.sh is there) and demands success within `seconds`. */
export async function runScriptInInitramfs(
  context: CaseContext,
  script: string,
  seconds: number,
): Promise<void> {
  const target = path.join(context.folder, 'initrd.cpio');
  const boot = await fastBoot(await testKernel(), { beforeRoot: script }, '', target);
  const machine = await context.start({ name: context.name, boot, disks: [], memoryMiB: 256 });
  await machine.waitForEvent('alive', 120);
  await machine.waitForEnd(seconds);
  requireDone(machine);
}

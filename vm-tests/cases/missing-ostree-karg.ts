/**
 * Without `ostree=` on the kernel command line there is nothing to verify. A unit with a condition on that argument
 * would be skipped, and the boot would go on; ours runs and refuses. So does an empty argument.
 */
import { ensureBaseDisk } from '../base-disk.ts';
import type { VmCase } from '../case.ts';
import { SystemRefusalCase } from '../refusal.ts';

function without(line: string): string {
  const kept = line.split(' ').filter((argument) => !argument.startsWith('ostree='));
  if (kept.length !== line.split(' ').length - 1) throw new Error(`cannot remove ostree= from ${line}`);
  return kept.join(' ');
}

export default {
  title: 'a kernel command line without ostree= is refused',
  deadlineSeconds: 3600,
  async run(context) {
    const refusal = new SystemRefusalCase(context, await ensureBaseDisk());
    await refusal.systemBootsUntampered();
    await refusal.systemIsRefused('no ostree argument', 'cmdline-ostree-missing', { commandLine: without });
    await refusal.bootsUntampered();
    await refusal.isRefused('an empty ostree argument', 'cmdline-ostree-missing', {
      commandLine: (line) => `${without(line)} ostree=`,
    });
  },
} satisfies VmCase;

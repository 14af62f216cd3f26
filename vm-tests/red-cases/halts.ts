/** Must turn the run red: the guest's kernel halts, and QEMU would go on for ever. */
import type { VmCase } from '../case.ts';
import { runScriptInInitramfs } from '../red-guest.ts';

export default {
  title: 'a guest that halts',
  deadlineSeconds: 300,
  run: (context) =>
    context.step('the guest is done', () =>
      runScriptInInitramfs(context, 'event alive\nhalt -f\nsleep 3600\n', 60),
    ),
} satisfies VmCase;

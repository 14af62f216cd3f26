/** Must turn the run red: the guest's kernel panics, which also ends QEMU with 0. */
import type { VmCase } from '../case.ts';
import { runScriptInInitramfs } from '../red-guest.ts';

export default {
  title: 'a guest whose kernel panics',
  deadlineSeconds: 300,
  run: (context) =>
    context.step('the guest is done', () =>
      runScriptInInitramfs(context, 'event alive\necho c >/proc/sysrq-trigger\nsleep 3600\n', 60),
    ),
} satisfies VmCase;

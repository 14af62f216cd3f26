/** Must turn the run red: the guest powers off, QEMU exits with 0, and nothing ever said done. */
import type { VmCase } from '../case.ts';
import { runScriptInInitramfs } from '../red-guest.ts';

export default {
  title: 'a guest that ends without a word',
  deadlineSeconds: 300,
  run: (context) =>
    context.step('the guest is done', () =>
      runScriptInInitramfs(context, 'event alive\nsync\npoweroff -f\nsleep 3600\n', 60),
    ),
} satisfies VmCase;

/** Must turn the run red: the guest lives on and never ends. The deadline is short because nothing is to be waited for. */
import type { VmCase } from '../case.ts';
import { runScriptInInitramfs } from '../red-guest.ts';

export default {
  title: 'a guest that hangs',
  deadlineSeconds: 300,
  run: (context) =>
    context.step('the guest is done', () =>
      runScriptInInitramfs(context, 'event alive\nwhile :; do sleep 3600; done\n', 3),
    ),
} satisfies VmCase;

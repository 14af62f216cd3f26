/** Must turn the run red: the guest reports a failure. */
import type { VmCase } from '../case.ts';
import { runScriptInInitramfs } from '../red-guest.ts';

export default {
  title: 'a guest that says done with status 7',
  deadlineSeconds: 300,
  run: (context) =>
    context.step('the guest is done', () => runScriptInInitramfs(context, 'event alive\nfinish 7\n', 60)),
} satisfies VmCase;

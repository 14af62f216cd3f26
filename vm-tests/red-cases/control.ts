/** Passes: without it the red ones would prove nothing. */
import type { VmCase } from '../case.ts';
import { runScriptInInitramfs } from '../red-guest.ts';

export default {
  title: 'a guest that says done with status 0',
  deadlineSeconds: 300,
  run: (context) =>
    context.step('the guest is done', () => runScriptInInitramfs(context, 'event alive\n', 60)),
} satisfies VmCase;

/** Must turn the run red: a guest that goes on after done has two stories. */
import type { VmCase } from '../case.ts';
import { runScriptInInitramfs } from '../red-guest.ts';

export default {
  title: 'a guest that speaks after done',
  deadlineSeconds: 300,
  run: (context) =>
    context.step('the guest is done', () =>
      runScriptInInitramfs(context, 'event alive\nevent done status 0\nevent afterthought\nfinish 0\n', 60),
    ),
} satisfies VmCase;

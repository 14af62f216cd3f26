/** Two of the three cases that share its guest must turn the run red: one fails, one is not judged. */
import type { VmCase } from '../case.ts';
import { runScriptInInitramfs } from '../red-guest.ts';

export default {
  title: 'a guest that is shared by three cases',
  deadlineSeconds: 300,
  shared: ['good', 'bad', 'forgotten'],
  async run(context) {
    await context.step('the guest is done', () => runScriptInInitramfs(context, 'event alive\n', 60));
    context.judge('good', 0, () => {});
    context.judge('bad', 0, () => {
      throw new Error('the fact');
    });
  },
} satisfies VmCase;

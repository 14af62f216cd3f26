/** The slots of Android's boot loader: `_a` and `_b`, or one that has no name. ostree keeps a link for each. */

import { findKernelArgument, type KernelArgument } from '../src/formats/cmdline.ts';
import { ascii, type ByteString, printable } from '../src/formats/encoding.ts';
import { refused } from '../src/formats/errors.ts';

/** What stands for `ostree=` where an argument of that boot loader is given. */
export function slotArgument(given: readonly KernelArgument[]): ByteString {
  const suffix = findKernelArgument(given, 'androidboot.slot_suffix');
  if (suffix === '_a' || suffix === undefined) return ascii('/ostree/root.a');
  if (suffix === '_b') return ascii('/ostree/root.b');
  throw refused(
    'cmdline-slot-unknown',
    `cannot choose a deployment: androidboot.slot_suffix is "${printable(suffix)}", expected _a or _b`,
  );
}

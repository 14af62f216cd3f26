/** How the program was asked a question. */

import { ascii, type ByteString, printable } from '../src/formats/encoding.ts';
import { usageError } from '../src/formats/errors.ts';

export type Question =
  /** What would be booted and how, without mounting. */
  | { readonly mode: 'plan'; readonly root: ByteString }
  /** For whoever builds an initramfs: is `policy`, with the keys below `tree`, one that boots? */
  | { readonly mode: 'check-policy'; readonly policy: ByteString; readonly tree: ByteString }
  /** For the unit that ends a failed boot. */
  | { readonly mode: 'failure-action' };

const DEFAULT_ROOT = ascii('/sysroot');

/** `words` without the program's name. */
export function parseQuestion(words: readonly ByteString[]): Question {
  const [first, ...rest] = words;
  if (first === '--check-policy' && (rest.length === 1 || rest.length === 2)) {
    const [policy = first, tree = ascii('')] = rest;
    return { mode: 'check-policy', policy, tree };
  }
  if (first === '--plan' && rest.length <= 1) return { mode: 'plan', root: rest[0] ?? DEFAULT_ROOT };
  if (first === '--failure-action' && rest.length === 0) return { mode: 'failure-action' };
  throw usageError(
    'usage',
    `cannot use the arguments ${words.map(printable).join(' ')}`,
    // ostree-prepare-root takes a kernel command line there.
    rest.length > 0 && !first?.startsWith('-')
      ? 'name the physical root only: the kernel command line is that of /proc/cmdline'
      : undefined,
  );
}

/**
 * What the policy says of the root file system: ostree's groups `[composefs]`, `[root]`, `[etc]` and `[sysroot]`, with
 * ostree's values and defaults (ostree-prepare-root(1)), and with one difference: a boot that is not sealed has to be
 * asked for, by a value of `composefs.enabled`.
 */

import { printable } from './encoding.ts';
import { refused, type SealrootError } from './errors.ts';
import { type Keyfile, keyfileBoolean, keyfileValue } from './keyfile.ts';

export interface RootPolicy {
  /** `composefs.enabled=signed`: nothing boots but what a key holder signed. */
  readonly sealed: boolean;
  /** The root is the deployment's composefs image; or is if there is one; or is the deployment's own tree. */
  readonly composefs: 'yes' | 'maybe' | 'no';
  /** The kernel compares every file of the image with the fs-verity digest that the image names. */
  readonly requiresVerity: boolean;
  readonly sysrootReadonly: boolean;
  /** What is written to /etc goes to memory. */
  readonly etcTransient: boolean;
  /** What is written to the root goes to memory; `read-only`: once it has been mounted writable. */
  readonly rootTransient: 'no' | 'yes' | 'read-only';
}

type Mode = Pick<RootPolicy, 'sealed' | 'composefs' | 'requiresVerity'>;

/** `argument` replaces `composefs.enabled`. Throws `policy-malformed` or `policy-not-sealed`. */
export function readRootPolicy(keyfile: Keyfile, argument: string | undefined, what: string): RootPolicy {
  const mode = readMode(keyfile, argument, what);
  const rootTransient = readRootTransient(keyfile, what);
  if (rootTransient !== 'no' && mode.composefs === 'no') {
    throw malformed(what, `root.transient needs composefs, and composefs.enabled is "no"`);
  }
  return {
    ...mode,
    sysrootReadonly: keyfileBoolean(keyfile, 'sysroot', 'readonly', what) ?? mode.composefs === 'yes',
    etcTransient: keyfileBoolean(keyfile, 'etc', 'transient', what) ?? false,
    rootTransient,
  };
}

function readMode(keyfile: Keyfile, argument: string | undefined, what: string): Mode {
  const enabled = keyfileValue(keyfile, 'composefs', 'enabled');
  if (enabled === undefined && argument === undefined) {
    throw refused(
      'policy-not-sealed',
      `cannot boot by ${what}: composefs.enabled is not set, expected "signed", or what is to boot unsealed`,
    );
  }
  const configured = enabled === undefined ? undefined : modeOf(enabled, what);
  if (argument === undefined) return configured as Mode;
  const asked = modeOf(argument, what);
  // As in ostree: an argument that takes the signature away leaves fs-verity required.
  return { ...asked, requiresVerity: asked.requiresVerity || configured?.requiresVerity === true };
}

function modeOf(enabled: string, what: string): Mode {
  switch (enabled) {
    case 'signed':
      return { sealed: true, composefs: 'yes', requiresVerity: true };
    case 'verity':
      return { sealed: false, composefs: 'yes', requiresVerity: true };
    case 'yes':
    case 'true':
    case '1':
      return { sealed: false, composefs: 'yes', requiresVerity: false };
    case 'maybe':
      return { sealed: false, composefs: 'maybe', requiresVerity: false };
    case 'no':
    case 'false':
    case '0':
      return { sealed: false, composefs: 'no', requiresVerity: false };
    default:
      throw malformed(
        what,
        `composefs.enabled is "${printable(enabled)}", expected signed, verity, yes, maybe or no`,
      );
  }
}

function readRootTransient(keyfile: Keyfile, what: string): RootPolicy['rootTransient'] {
  const writable = keyfileBoolean(keyfile, 'root', 'transient', what) ?? false;
  const readOnly = keyfileBoolean(keyfile, 'root', 'transient-ro', what) ?? false;
  if (writable && readOnly) throw malformed(what, 'root.transient and root.transient-ro are both true');
  if (readOnly) return 'read-only';
  return writable ? 'yes' : 'no';
}

function malformed(what: string, fact: string): SealrootError {
  return refused('policy-malformed', `cannot read ${what}: ${fact}`);
}

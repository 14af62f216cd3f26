/**
 * The policy: what prepare-root.conf of the initramfs demands. Keys, values and defaults are ostree's
 * (ostree-prepare-root(1)); what sealroot adds stands in `[sealroot]`, where an unknown or a duplicate key is an
 * error, because a misspelt restriction must not vanish. What ostree knows and sealroot cannot do yet is refused,
 * not ignored; keys that neither knows are ignored outside `[sealroot]`, as ostree ignores them.
 */

import { ascii, type ByteString, printable } from './encoding.ts';
import { refused, SealrootError } from './errors.ts';
import { type Keyfile, keyfileBoolean, keyfileValue, parseKeyfile } from './keyfile.ts';

/** ostree's default of `composefs.keypath`. */
export const DEFAULT_KEYPATH = ascii('/etc/ostree/initramfs-root-binding.key');

export interface Policy {
  /** `composefs.enabled=signed`: nothing boots but what a key holder signed. */
  readonly sealed: true;
  /** Where the public keys are, absolute, in the initramfs. */
  readonly keypath: ByteString;
  readonly sysrootReadonly: boolean;
}

/** Keys of `[sealroot]`; none yet, so that any is an error. */
const SEALROOT_KEYS: readonly string[] = [];

/** Switches that change what is mounted and that sealroot does not have yet. */
const UNSUPPORTED = [
  ['etc', 'transient'],
  ['root', 'transient'],
  ['root', 'transient-ro'],
] as const;

/** Throws `policy-malformed`, `policy-not-sealed` or `policy-unsupported`; `what` names the file in messages. */
export function parsePolicy(bytes: Uint8Array, what = 'policy'): Policy {
  try {
    return readPolicy(parseKeyfile(bytes, what), what);
  } catch (error) {
    if (error instanceof SealrootError && error.code === 'keyfile-malformed') {
      throw refused('policy-malformed', error.message);
    }
    throw error;
  }
}

function readPolicy(keyfile: Keyfile, what: string): Policy {
  checkSealrootGroup(keyfile, what);
  checkSealed(keyfile, what);
  for (const [group, key] of UNSUPPORTED) {
    if (keyfileBoolean(keyfile, group, key, what) === true) {
      throw refused(
        'policy-unsupported',
        `cannot follow ${what}: ${group}.${key} is true, which sealroot does not support yet`,
        `remove ${key} from [${group}]`,
      );
    }
  }
  return {
    sealed: true,
    keypath: readKeypath(keyfile, what),
    // ostree's default for a composefs root; without one there is no policy that gets here.
    sysrootReadonly: keyfileBoolean(keyfile, 'sysroot', 'readonly', what) ?? true,
  };
}

function checkSealrootGroup(keyfile: Keyfile, what: string): void {
  for (const { group, key, line } of keyfile.duplicates) {
    if (group === 'sealroot') {
      throw refused(
        'policy-malformed',
        `cannot read ${what}: duplicate key "${printable(key)}" in [sealroot], line ${line}`,
      );
    }
  }
  for (const key of keyfile.groups.get(ascii('sealroot'))?.keys() ?? []) {
    if (!SEALROOT_KEYS.includes(key)) {
      throw refused('policy-malformed', `cannot read ${what}: unknown key "${printable(key)}" in [sealroot]`);
    }
  }
}

function checkSealed(keyfile: Keyfile, what: string): void {
  const enabled = keyfileValue(keyfile, 'composefs', 'enabled');
  if (enabled === 'signed') return;
  const fact = enabled === undefined ? 'is not set' : `is "${printable(enabled)}"`;
  throw refused(
    'policy-not-sealed',
    `cannot boot by ${what}: composefs.enabled ${fact}, expected "signed", the only mode supported yet`,
    'set enabled=signed in [composefs] and rebuild the initramfs',
  );
}

function readKeypath(keyfile: Keyfile, what: string): ByteString {
  const keypath = keyfileValue(keyfile, 'composefs', 'keypath') ?? DEFAULT_KEYPATH;
  if (!keypath.startsWith('/')) {
    throw refused(
      'policy-malformed',
      `cannot read ${what}: composefs.keypath is "${printable(keypath)}", expected an absolute path`,
    );
  }
  return keypath;
}

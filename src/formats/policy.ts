/**
 * The policy: what prepare-root.conf of the initramfs demands. Keys, values and defaults are ostree's (policy-root.ts);
 * what sealroot adds stands in `[sealroot]`, where an unknown or a duplicate key is an error, because a misspelt
 * restriction must not vanish, and so is one that only a sealed boot can hold to in a policy that is not sealed. Keys
 * that nobody knows are ignored outside `[sealroot]`, as ostree ignores them.
 */

import type { KernelArgument } from './cmdline.ts';
import { ED25519_KEY_BYTES } from './ed25519.ts';
import { ascii, type ByteString, parseBase64, printable } from './encoding.ts';
import { refused, SealrootError } from './errors.ts';
import { type Keyfile, keyfileBoolean, keyfileValue, parseKeyfile } from './keyfile.ts';
import { type RootPolicy, readRootPolicy } from './policy-root.ts';
import type { Demands, KeyLimit } from './verdict.ts';

/** ostree's default of `composefs.keypath`. */
export const DEFAULT_KEYPATH = ascii('/etc/ostree/initramfs-root-binding.key');

export interface Policy extends RootPolicy {
  /** Where the public keys are, absolute, in the initramfs. */
  readonly keypath: ByteString;
  /** Of every commit; the revoked keys are a file of their own. */
  readonly demands: Omit<Demands, 'revoked'>;
  /** What comes after a refusal. */
  readonly onFailure: FailureAction;
  /** An image that is missing or wrong is built again from the commit's objects. */
  readonly rebuildsImage: boolean;
  /** A failed boot may end in a shell. */
  readonly allowsShell: boolean;
  /** Names of kernel arguments that would have changed the policy and are not followed. */
  readonly ignoredArguments: readonly ByteString[];
}

export type FailureAction = (typeof FAILURE_ACTIONS)[number];
const FAILURE_ACTIONS = ['emergency', 'reboot', 'poweroff', 'next-deployment'] as const;

const SEALROOT_KEYS = [
  'refs',
  'min-timestamp',
  'not-after',
  'on-failure',
  'shell',
  'rebuild-image',
  'allow-karg-override',
];
/** These are decided when the initramfs is built. */
const NEVER_OVERRIDDEN = ['shell', 'allow-karg-override'];

/** Far beyond any date, far below what would take time. */
const MAX_TIMESTAMP_DIGITS = 12;

/** In ostree the first of several counts. */
const COMPOSEFS_ARGUMENT = 'ostree.prepare-root.composefs';

/**
 * Throws `policy-malformed` or `policy-not-sealed`; `what` names the file in messages. Kernel arguments count only if the
 * policy itself says so, and then replace what it says; but for one that can only make it stricter.
 */
export function parsePolicy(
  bytes: Uint8Array,
  what = 'policy',
  kernelArguments: readonly KernelArgument[] = [],
): Policy {
  try {
    const keyfile = parseKeyfile(bytes, what);
    checkSealrootGroup(keyfile, what);
    const ours = kernelArguments.filter(
      ({ key }) => key.startsWith('ostree.') || key.startsWith('sealroot.'),
    );
    const overridable = keyfileBoolean(keyfile, 'sealroot', 'allow-karg-override', what) ?? false;
    const followed = ours.filter((argument) => (overridable ? isForPolicy(argument) : isSealing(argument)));
    const ignored = ours.filter((argument) => !followed.includes(argument));
    const composefs = followed.find(({ key }) => key === COMPOSEFS_ARGUMENT)?.value;
    const policy = readPolicy(overridden(keyfile, followed), composefs, what);
    return { ...policy, ignoredArguments: ignored.map(({ key }) => key as ByteString) };
  } catch (error) {
    if (error instanceof SealrootError && error.kind === 'input') {
      throw refused('policy-malformed', error.message);
    }
    throw error;
  }
}

function isForPolicy(argument: KernelArgument): boolean {
  return (
    ownKeyOf(argument) !== undefined || (argument.key === COMPOSEFS_ARGUMENT && argument.value !== undefined)
  );
}

/** Nobody but the policy can say that a boot need not be sealed. */
function isSealing({ key, value }: KernelArgument): boolean {
  return key === COMPOSEFS_ARGUMENT && value === 'signed';
}

/** The key of `[sealroot]` whose value an argument replaces. */
function ownKeyOf({ key, value }: KernelArgument): ByteString | undefined {
  const own = key.startsWith('sealroot.') ? key.slice('sealroot.'.length) : '';
  if (value === undefined || !SEALROOT_KEYS.includes(own) || NEVER_OVERRIDDEN.includes(own)) return undefined;
  return own as ByteString;
}

/** The last of several arguments for one key counts, as of several lines in ostree's own file. */
function overridden(keyfile: Keyfile, kernelArguments: readonly KernelArgument[]): Keyfile {
  const groups = new Map(keyfile.groups);
  const group = ascii('sealroot');
  for (const argument of kernelArguments) {
    const key = ownKeyOf(argument);
    if (key !== undefined)
      groups.set(group, new Map(groups.get(group)).set(key, argument.value as ByteString));
  }
  return { ...keyfile, groups };
}

function readPolicy(
  keyfile: Keyfile,
  composefs: string | undefined,
  what: string,
): Omit<Policy, 'ignoredArguments'> {
  const root = readRootPolicy(keyfile, composefs, what);
  if (!root.sealed) checkUnsealed(keyfile, what);
  return {
    ...root,
    keypath: readKeypath(keyfile, what),
    demands: readDemands(keyfile, what),
    rebuildsImage: readRebuild(keyfile, what),
    ...readFailure(keyfile, what),
  };
}

/** `yes` and `no`, as composefs.enabled has them, or a boolean of GKeyFile. */
function readRebuild(keyfile: Keyfile, what: string): boolean {
  const value = keyfileValue(keyfile, 'sealroot', 'rebuild-image');
  if (value === 'yes' || value === 'no') return value === 'yes';
  return keyfileBoolean(keyfile, 'sealroot', 'rebuild-image', what) ?? false;
}

/** Whether the image is built again because of what opening or mounting the one on the disk has thrown. */
export function rebuildsFor({ rebuildsImage }: Policy, error: unknown): error is SealrootError {
  return rebuildsImage && error instanceof SealrootError && error.code.startsWith('image-');
}

/** What is demanded of signed commits, and the choice among them, cannot be had without signatures. */
function checkUnsealed(keyfile: Keyfile, what: string): void {
  for (const key of ['refs', 'min-timestamp', 'not-after', 'rebuild-image', 'on-failure']) {
    const value = keyfileValue(keyfile, 'sealroot', key);
    if (value === undefined || (key === 'on-failure' && value !== 'next-deployment')) continue;
    throw malformed(what, key, value, 'none where composefs.enabled is not "signed"');
  }
}

function readFailure(keyfile: Keyfile, what: string): Pick<Policy, 'onFailure' | 'allowsShell'> {
  const value = keyfileValue(keyfile, 'sealroot', 'on-failure') ?? 'emergency';
  const onFailure = FAILURE_ACTIONS.find((action) => action === value);
  if (onFailure === undefined)
    throw malformed(what, 'on-failure', value, `one of ${FAILURE_ACTIONS.join(', ')}`);
  const allowsShell = keyfileBoolean(keyfile, 'sealroot', 'shell', what) ?? false;
  if (allowsShell && (onFailure === 'reboot' || onFailure === 'poweroff')) {
    throw malformed(what, 'on-failure', value, 'emergency or next-deployment where shell is true');
  }
  return { onFailure, allowsShell };
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

function readDemands(keyfile: Keyfile, what: string): Policy['demands'] {
  const floor = keyfileValue(keyfile, 'sealroot', 'min-timestamp');
  return {
    refs: listOf(keyfile, 'refs', what).map((ref) => parseRef(ref, what)),
    minTimestamp: floor === undefined ? 0n : parseTimestamp(floor, 'min-timestamp', what),
    keyLimits: listOf(keyfile, 'not-after', what).map((entry) => parseKeyLimit(entry, what)),
  };
}

/** The members of a list as GKeyFile writes it, `A;B` or `A;B;`; none if the key is not there, an error if it is empty. */
function listOf(keyfile: Keyfile, key: string, what: string): ByteString[] {
  const value = keyfileValue(keyfile, 'sealroot', key);
  if (value === undefined) return [];
  const members = (value.endsWith(';') ? value.slice(0, -1) : value).split(';');
  if (members.includes('')) throw malformed(what, key, value, 'a list, A;B, without empty members');
  return members as ByteString[];
}

/** What a ref's name may hold (libostree's OSTREE_REF_REGEXP): no blank and no escape slips in. */
function parseRef(ref: ByteString, what: string): ByteString {
  for (let i = 0; i < ref.length; i++) {
    const code = ref.charCodeAt(i) | 0x20;
    const plain = (code >= 0x61 && code <= 0x7a) || '0123456789-._/'.includes(ref.charAt(i));
    if (!plain) throw malformed(what, 'refs', ref, 'names of refs');
  }
  return ref;
}

/** `KEY SECONDS`. */
function parseKeyLimit(entry: ByteString, what: string): KeyLimit {
  const [text = '', seconds = '', ...rest] = entry.split(' ');
  const key = parseBase64(text, `not-after in ${what}`);
  if (key.length !== ED25519_KEY_BYTES || rest.length > 0) {
    throw malformed(what, 'not-after', entry, 'KEY SECONDS;KEY SECONDS');
  }
  return { key, notAfter: parseTimestamp(seconds, 'not-after', what) };
}

/** Seconds since 1970. */
function parseTimestamp(text: string, key: string, what: string): bigint {
  for (let i = 0; i < text.length; i++) {
    if (!'0123456789'.includes(text.charAt(i))) throw malformed(what, key, text, 'seconds since 1970');
  }
  if (text === '' || text.length > MAX_TIMESTAMP_DIGITS) {
    throw malformed(what, key, text, 'seconds since 1970');
  }
  return BigInt(text);
}

function malformed(what: string, key: string, value: string, expected: string): SealrootError {
  return refused(
    'policy-malformed',
    `cannot read ${what}: sealroot.${key} is "${printable(value)}", expected ${expected}`,
  );
}

/**
 * PURE: the mount table of a sealed boot as plain data. The result is what ostree-prepare-root(1) makes for
 * `composefs.enabled=signed`; the way there differs, so that nothing is attached before everything is there:
 *
 *   /                    overlay over the EROFS image, data from the objects, verity=require, read-only
 *   /etc                 bind of the deployment's etc, writable
 *   /sysroot             bind of the physical root; read-only with sysroot.readonly
 *   /sysroot/.../var     bind of the stateroot's var on itself, writable; with sysroot.readonly. /var itself is
 *                        mounted after the switch by ostree's generator
 *   /boot                bind of the physical /boot, if the boot loader's entries are there and the tree has /boot
 */

import { encodeBootRecord } from './boot-record.ts';
import { ascii, type ByteString } from './encoding.ts';
import type { Policy } from './policy.ts';

/** Mounts that exist before they are attached. */
export type CloneName = 'etc' | 'var' | 'sysroot' | 'boot' | 'os-var';
export type MountName = 'root' | CloneName;

/** Paths are absolute in the initramfs unless they are said to be below the physical root. */
export type MountStep =
  | { readonly step: 'make-directory'; readonly path: ByteString; readonly mode: number }
  | { readonly step: 'make-private'; readonly path: ByteString }
  /** Mounts the measured image. */
  | { readonly step: 'attach-image'; readonly path: ByteString }
  | { readonly step: 'create-root'; readonly image: ByteString; readonly objects: ByteString }
  | {
      readonly step: 'clone';
      readonly name: CloneName;
      /** A directory below the physical root; empty for the root itself. */
      readonly source: ByteString;
      readonly access: Access;
    }
  | { readonly step: 'attach'; readonly mount: MountName; readonly path: ByteString }
  /** Only where the tree has a directory for it. */
  | { readonly step: 'attach-if-directory'; readonly mount: MountName; readonly path: ByteString }
  /** Opened below another mount, without following links. */
  | {
      readonly step: 'attach-below';
      readonly mount: MountName;
      readonly below: MountName;
      readonly path: ByteString;
    }
  /** Below another mount must be this directory, without a link on the way. */
  | { readonly step: 'require-modules'; readonly below: MountName; readonly path: ByteString }
  | { readonly step: 'detach'; readonly path: ByteString }
  | { readonly step: 'propagate-one-way'; readonly path: ByteString }
  | { readonly step: 'make-link'; readonly path: ByteString; readonly target: ByteString }
  | {
      readonly step: 'write-file';
      readonly path: ByteString;
      readonly content: Uint8Array;
      readonly mode: number;
    };

/** What a bind mount allows; `inherited`: what the mount that it is made of allows. */
export type Access = 'read-only' | 'writable' | 'inherited';

/** Of the initramfs, as they are: what the next deployment will be judged by. */
export interface TrustFiles {
  readonly policy: Uint8Array;
  readonly keys: Uint8Array;
  readonly revoked: Uint8Array | undefined;
}

export interface MountFacts {
  readonly trust: { readonly policy: Policy; readonly files: TrustFiles };
  /** The release whose modules the tree has to hold; undefined: not asked. */
  readonly kernel: ByteString | undefined;
  /** Where the physical root is mounted, `/sysroot`; the new root takes its place. */
  readonly root: ByteString;
  /** Below the physical root: `ostree/deploy/OS/deploy/CHECKSUM.SERIAL`. */
  readonly deployment: ByteString;
  readonly stateroot: ByteString;
  /** st_dev and st_ino of the deployment's directory. */
  readonly device: bigint;
  readonly inode: bigint;
  /** The block device under the physical root, if there is one. */
  readonly rootBlockDevice: { readonly major: number; readonly minor: number } | undefined;
  /** `boot/loader` on the physical root is a link: ostree's boot loader entries are there. */
  readonly hasBootEntries: boolean;
  /** The initramfs asks for /var to be mounted here and not after the switch (ostree's own marker). */
  readonly mountsVar: boolean;
}

const RUN_OSTREE = ascii('/run/ostree');
/** Nobody but root passes through: the image's mount is never visible to others. */
const RUN_OSTREE_PRIVATE = ascii('/run/ostree/.private');
const IMAGE_MOUNT = ascii('/run/ostree/.private/cfsroot-lower');
const RUN_SEALROOT = ascii('/run/sealroot');

export function planMounts(facts: MountFacts): MountStep[] {
  return [...prepare(facts), ...clones(facts), ...records(facts), ...switchOver(facts)];
}

/** The root, not attached anywhere. A failure up to the end of this leaves the image's mount at most. */
function prepare({ root, kernel }: MountFacts): MountStep[] {
  const steps: MountStep[] = [
    { step: 'make-directory', path: RUN_OSTREE, mode: 0o755 },
    { step: 'make-directory', path: RUN_OSTREE_PRIVATE, mode: 0 },
    { step: 'make-directory', path: IMAGE_MOUNT, mode: 0o700 },
    // With shared mounts every bind of the physical root would get copies of what is mounted in the others.
    { step: 'make-private', path: ascii('/') },
    { step: 'attach-image', path: IMAGE_MOUNT },
    { step: 'create-root', image: IMAGE_MOUNT, objects: join(root, 'ostree/repo/objects') },
    { step: 'detach', path: IMAGE_MOUNT },
  ];
  if (kernel !== undefined) {
    steps.push({ step: 'require-modules', below: 'root', path: join(ascii('usr/lib/modules'), kernel) });
  }
  return steps;
}

function varOf(stateroot: ByteString): ByteString {
  return `ostree/deploy/${stateroot}/var` as ByteString;
}

function clones(facts: MountFacts): MountStep[] {
  const { trust, deployment, stateroot, hasBootEntries, mountsVar } = facts;
  const readonly = trust.policy.sysrootReadonly;
  const steps: MountStep[] = [
    { step: 'clone', name: 'etc', source: join(deployment, 'etc'), access: 'writable' },
    { step: 'clone', name: 'sysroot', source: ascii(''), access: readonly ? 'read-only' : 'inherited' },
  ];
  if (readonly) steps.push({ step: 'clone', name: 'var', source: varOf(stateroot), access: 'writable' });
  if (hasBootEntries) steps.push({ step: 'clone', name: 'boot', source: ascii('boot'), access: 'inherited' });
  if (mountsVar)
    steps.push({
      step: 'clone',
      name: 'os-var',
      source: varOf(stateroot),
      access: readonly ? 'writable' : 'inherited',
    });
  return steps;
}

/** What the booted system is told, under /run, which survives the switch. */
function records(facts: MountFacts): MountStep[] {
  const { trust, device, inode, rootBlockDevice } = facts;
  const { policy, files } = trust;
  const steps: MountStep[] = [];
  if (rootBlockDevice !== undefined) {
    const { major, minor } = rootBlockDevice;
    // An overlay has no device; systemd finds the disk by this link, whose target it never opens.
    steps.push({ step: 'make-directory', path: ascii('/run/systemd'), mode: 0o755 });
    steps.push({
      step: 'make-link',
      path: ascii('/run/systemd/volatile-root'),
      target: ascii(`/dev/block/${major}:${minor}`),
    });
  }
  const record = encodeBootRecord({
    device,
    inode,
    keypath: policy.keypath,
    sysrootReadonly: policy.sysrootReadonly,
  });
  steps.push(
    { step: 'make-directory', path: RUN_SEALROOT, mode: 0o755 },
    // What this boot trusts is what the next deployment will be judged by.
    recorded('keys', files.keys),
    recorded('prepare-root.conf', files.policy),
  );
  if (files.revoked !== undefined) steps.push(recorded('keys.revoked', files.revoked));
  steps.push({ step: 'write-file', path: ascii('/run/ostree-booted'), content: record, mode: 0o644 });
  return steps;
}

function recorded(name: string, content: Uint8Array): MountStep {
  return { step: 'write-file', path: join(RUN_SEALROOT, name), content, mode: 0o444 };
}

/** From here on the physical root is gone from its place; a failure leaves nothing to switch to. */
function switchOver({ trust, root, stateroot, hasBootEntries, mountsVar }: MountFacts): MountStep[] {
  const steps: MountStep[] = [
    { step: 'detach', path: root },
    { step: 'attach', mount: 'root', path: root },
  ];
  if (hasBootEntries) steps.push({ step: 'attach-if-directory', mount: 'boot', path: join(root, 'boot') });
  steps.push(
    { step: 'attach', mount: 'etc', path: join(root, 'etc') },
    { step: 'attach', mount: 'sysroot', path: join(root, 'sysroot') },
  );
  if (trust.policy.sysrootReadonly) {
    steps.push({ step: 'attach-below', mount: 'var', below: 'sysroot', path: varOf(stateroot) });
  }
  if (mountsVar) {
    steps.push({ step: 'attach', mount: 'os-var', path: join(root, 'var') });
    steps.push({ step: 'propagate-one-way', path: join(root, 'var') });
  }
  return steps;
}

function join(directory: ByteString, name: string): ByteString {
  return `${directory}/${name}` as ByteString;
}

/**
 * PURE: the mount table of a boot as plain data. The result is what ostree-prepare-root(1) makes by the same policy; the
 * way there differs, so that nothing takes the physical root's place before everything is there:
 *
 *   /                    overlay over the EROFS image, data from the objects, read-only; with verity=require where the
 *                        policy is sealed or asks for it; writable into memory with root.transient. Without an image:
 *                        bind of the deployment's own tree
 *   /usr                 overlay that keeps changes (`ostree admin unlock --hotfix`), never of a sealed boot; without it
 *                        and without an image: read-only
 *   /etc                 bind of the deployment's etc, writable; with etc.transient an overlay over usr/etc into memory.
 *                        Left alone where the root is the deployment's own tree and /sysroot is writable
 *   /sysroot             bind of the physical root; read-only with sysroot.readonly
 *   /sysroot/.../var     bind of the stateroot's var on itself, writable; with sysroot.readonly. /var itself is
 *                        mounted after the switch by ostree's generator
 *   /boot                bind of the physical /boot, if the boot loader's entries are there and the tree has /boot
 */

import { encodeBootRecord } from './boot-record.ts';
import { ascii, type ByteString } from './encoding.ts';
import type { Policy } from './policy.ts';

/** Mounts that exist before they are attached. */
export type CloneName = 'root' | 'usr' | 'etc' | 'var' | 'sysroot' | 'boot' | 'os-var';
export type OverlayName = 'usr' | 'etc';
export type MountName = CloneName;

/** Paths are absolute in the initramfs unless they are said to be below the physical root. */
export type MountStep =
  | { readonly step: 'make-directory'; readonly path: ByteString; readonly mode: number }
  | { readonly step: 'make-private'; readonly path: ByteString }
  /** Mounts the measured image. */
  | { readonly step: 'attach-image'; readonly path: ByteString }
  | ({ readonly step: 'create-root' } & RootMount)
  /** Over a directory that is reached by its path. */
  | ({ readonly step: 'create-overlay'; readonly name: OverlayName } & OverlayMount)
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

/** Where an overlay keeps what is written. */
export interface Layer {
  readonly upper: ByteString;
  readonly work: ByteString;
}

export interface RootMount extends Partial<Layer> {
  readonly image: ByteString;
  readonly objects: ByteString;
  readonly verity: 'require' | 'off';
  readonly access: Exclude<Access, 'inherited'>;
}

export interface OverlayMount extends Layer {
  readonly lower: ByteString;
  readonly access: Exclude<Access, 'inherited'>;
}

/** What a bind mount allows; `inherited`: what the mount that it is made of allows. */
export type Access = 'read-only' | 'writable' | 'inherited';

/** Of the initramfs, as they are: what the next deployment will be judged by. */
export interface TrustFiles {
  readonly policy: Uint8Array;
  /** undefined: nobody was asked for a signature. */
  readonly keys: Uint8Array | undefined;
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
  /** The deployment's composefs image is to be its root. */
  readonly hasImage: boolean;
  /** A place under /run that nobody uses, for what is written to a transient /etc. */
  readonly transientEtc: ByteString | undefined;
  /** Beside the deployment's tree are changes to its /usr, to be kept; what their overlay allows. */
  readonly usrOverlay: Exclude<Access, 'inherited'> | undefined;
}

const RUN_OSTREE = ascii('/run/ostree');
/** Nobody but root passes through: the image's mount is never visible to others. */
const RUN_OSTREE_PRIVATE = ascii('/run/ostree/.private');
const IMAGE_MOUNT = ascii('/run/ostree/.private/cfsroot-lower');
/** Where what is written to a transient root goes. */
const ROOT_LAYER = ascii('/run/ostree/.private/root');
/** Where the root stands while other mounts are made over parts of it. */
const NEW_ROOT = ascii('/run/ostree/.private/new-root');
const RUN_SEALROOT = ascii('/run/sealroot');

export function planMounts(facts: MountFacts): MountStep[] {
  return [...prepare(facts), ...clones(facts), ...overlays(facts), ...records(facts), ...switchOver(facts)];
}

/** The root, not attached anywhere. A failure up to the end of this leaves the image's mount at most. */
function prepare(facts: MountFacts): MountStep[] {
  const steps: MountStep[] = [
    { step: 'make-directory', path: RUN_OSTREE, mode: 0o755 },
    { step: 'make-directory', path: RUN_OSTREE_PRIVATE, mode: 0 },
  ];
  // With shared mounts every bind of the physical root would get copies of what is mounted in the others.
  const isolate: MountStep = { step: 'make-private', path: ascii('/') };
  if (!facts.hasImage) {
    return [
      ...steps,
      isolate,
      { step: 'clone', name: 'root', source: facts.deployment, access: 'inherited' },
    ];
  }
  const { requiresVerity, rootTransient } = facts.trust.policy;
  const root = {
    image: IMAGE_MOUNT,
    objects: join(facts.root, 'ostree/repo/objects'),
    verity: requiresVerity ? 'require' : 'off',
    access: rootTransient === 'yes' ? 'writable' : 'read-only',
  } as const;
  steps.push({ step: 'make-directory', path: IMAGE_MOUNT, mode: 0o700 }, isolate);
  steps.push({ step: 'attach-image', path: IMAGE_MOUNT });
  if (rootTransient === 'no') {
    steps.push({ step: 'create-root', ...root });
  } else {
    const layer = layerBelow(ROOT_LAYER);
    steps.push(
      { step: 'make-directory', path: ROOT_LAYER, mode: 0o755 },
      { step: 'make-directory', path: layer.upper, mode: 0o755 },
      { step: 'make-directory', path: layer.work, mode: 0o700 },
      { step: 'create-root', ...root, ...layer },
    );
  }
  steps.push({ step: 'detach', path: IMAGE_MOUNT });
  if (facts.kernel !== undefined) {
    steps.push({
      step: 'require-modules',
      below: 'root',
      path: join(ascii('usr/lib/modules'), facts.kernel),
    });
  }
  return steps;
}

function layerBelow(directory: ByteString): Layer {
  return { upper: join(directory, 'upper'), work: join(directory, 'work') };
}

function varOf(stateroot: ByteString): ByteString {
  return `ostree/deploy/${stateroot}/var` as ByteString;
}

/** ostree leaves /etc as it is where all of the deployment is writable: it is there already. */
function mountsEtc({ trust, hasImage }: MountFacts): boolean {
  return hasImage || trust.policy.sysrootReadonly;
}

function clones(facts: MountFacts): MountStep[] {
  const { trust, deployment, stateroot, hasBootEntries, mountsVar } = facts;
  const readonly = trust.policy.sysrootReadonly;
  const steps: MountStep[] = [];
  if (!facts.hasImage && facts.usrOverlay === undefined) {
    steps.push({ step: 'clone', name: 'usr', source: join(deployment, 'usr'), access: 'read-only' });
  }
  if (mountsEtc(facts) && facts.transientEtc === undefined) {
    steps.push({ step: 'clone', name: 'etc', source: join(deployment, 'etc'), access: 'writable' });
  }
  steps.push({
    step: 'clone',
    name: 'sysroot',
    source: ascii(''),
    access: readonly ? 'read-only' : 'inherited',
  });
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

/** An overlay finds its lower directory by a path, so the root has to stand somewhere meanwhile. */
function overlays(facts: MountFacts): MountStep[] {
  const { transientEtc, usrOverlay, root, deployment } = facts;
  const steps: MountStep[] = [];
  if (transientEtc !== undefined && mountsEtc(facts)) {
    const layer = layerBelow(transientEtc);
    const lower = join(NEW_ROOT, 'usr/etc');
    steps.push(
      { step: 'make-directory', path: transientEtc, mode: 0o700 },
      { step: 'make-directory', path: layer.upper, mode: 0o755 },
      { step: 'make-directory', path: layer.work, mode: 0o755 },
      { step: 'create-overlay', name: 'etc', lower, ...layer, access: 'writable' },
    );
  }
  if (usrOverlay !== undefined) {
    const beside = join(root, deployment);
    steps.push({
      step: 'create-overlay',
      name: 'usr',
      lower: join(NEW_ROOT, 'usr'),
      upper: join(beside, '.usr-ovl-upper'),
      work: join(beside, '.usr-ovl-work'),
      access: usrOverlay,
    });
  }
  if (steps.length === 0) return steps;
  return [
    { step: 'make-directory', path: NEW_ROOT, mode: 0o700 },
    { step: 'attach', mount: 'root', path: NEW_ROOT },
    ...steps,
  ];
}

/** What the booted system is told, under /run, which survives the switch. */
function records(facts: MountFacts): MountStep[] {
  const { trust, device, inode, rootBlockDevice, hasImage } = facts;
  const { policy, files } = trust;
  const steps: MountStep[] = [];
  if (hasImage && rootBlockDevice !== undefined) {
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
    rootTransient: policy.rootTransient,
    composefs: hasImage
      ? { verity: policy.requiresVerity, keypath: policy.sealed ? policy.keypath : undefined }
      : undefined,
    sysrootReadonly: policy.sysrootReadonly,
    transientEtc: mountsEtc(facts) ? facts.transientEtc : undefined,
  });
  steps.push({ step: 'make-directory', path: RUN_SEALROOT, mode: 0o755 });
  // What this boot trusts is what the next deployment will be judged by.
  if (files.keys !== undefined) steps.push(recorded('keys', files.keys));
  steps.push(recorded('prepare-root.conf', files.policy));
  if (files.revoked !== undefined) steps.push(recorded('keys.revoked', files.revoked));
  steps.push({ step: 'write-file', path: ascii('/run/ostree-booted'), content: record, mode: 0o644 });
  return steps;
}

function recorded(name: string, content: Uint8Array): MountStep {
  return { step: 'write-file', path: join(RUN_SEALROOT, name), content, mode: 0o444 };
}

/** From here on the physical root is gone from its place; a failure leaves nothing to switch to. */
function switchOver(facts: MountFacts): MountStep[] {
  const { trust, root, stateroot, hasImage, hasBootEntries, mountsVar } = facts;
  const steps: MountStep[] = [
    { step: 'detach', path: root },
    { step: 'attach', mount: 'root', path: root },
  ];
  if (hasBootEntries) steps.push({ step: 'attach-if-directory', mount: 'boot', path: join(root, 'boot') });
  if (mountsEtc(facts)) steps.push({ step: 'attach', mount: 'etc', path: join(root, 'etc') });
  if (!hasImage || facts.usrOverlay !== undefined) {
    steps.push({ step: 'attach', mount: 'usr', path: join(root, 'usr') });
  }
  steps.push({ step: 'attach', mount: 'sysroot', path: join(root, 'sysroot') });
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

/**
 * The operating system that the virtual machines boot: Debian trixie, every package stock, with sealroot's dracut
 * module, a policy and a public key, laid out as ostree wants it. `next` is what an update brings: the same and
 * Node.js with libostree's introspection data, so that `sealroot admin` runs in it, and a changed file.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { buildPrepareRoot } from '../initrd/build.ts';
import { systemError } from '../src/formats/errors.ts';
import { ensureCached } from '../tools/cache.ts';
import { discardTree, ensureChroot, runHere } from '../tools/chroots.ts';
import { DEVICE_DEPENDENCIES, ensureDevicePackage, installInto } from '../tools/device-package.ts';
import { installGuest } from './guest-unit.ts';
import { buildInitramfs, installSealedBoot } from './initramfs.ts';
import { toOstreeLayout } from './os-layout.ts';

export type Variant = 'base' | 'next';

export interface OsTreeOptions {
  variant: Variant;
  /** A file with one public key a line; the initramfs trusts these and no others. */
  publicKey: string;
}

export interface OsTree {
  path: string;
  /** As `uname -r` says it. */
  kernelVersion: string;
  kernel: string;
  initramfs: string;
}

const PROJECT_ROOT = path.join(import.meta.dirname, '..');

/** All that decides what a tree holds and that is not in a package: a change makes a new tree. */
const RECIPE_SOURCES = [
  'dracut-module',
  'systemd',
  'vm-tests/guest',
  'vm-tests/guest-unit.ts',
  'vm-tests/initramfs.ts',
  'vm-tests/os-layout.ts',
  'vm-tests/os-tree.ts',
];

const BASE_PACKAGES = [
  ...['systemd', 'systemd-sysv', 'dbus', 'udev', 'kmod', 'login', 'passwd', 'util-linux', 'e2fsprogs'],
  ...['linux-image-cloud-amd64', 'dracut', 'cpio', 'zstd', 'xz-utils', 'systemd-boot-efi'],
  ...['ostree', 'ostree-boot'],
];

/** mmdebstrap arguments; the hooks are shell, with the new system's folder in $1. */
const TRIXIE_HOOKS = [
  // dracut's own hook would make an initramfs that nobody uses, for half a minute. Its package insists on running it.
  '--dpkgopt=path-exclude=/etc/kernel/postinst.d/*',
  '--essential-hook=mkdir -p "$1/etc/kernel/postinst.d"',
  '--essential-hook=ln -s /bin/true "$1/etc/kernel/postinst.d/dracut"',
  '--customize-hook=rm "$1/etc/kernel/postinst.d/dracut"',
  '--customize-hook=mv "$1"/boot/vmlinuz-* "$(echo "$1"/usr/lib/modules/*)/vmlinuz"',
  // The mirror's address and this machine's resolver are nobody's business in an image.
  '--customize-hook=rm -f "$1/etc/apt/sources.list" "$1/etc/resolv.conf"',
];

/**
 * Trixie as Debian ships it, without anything of ours; also the place where its stock ostree and e2fsprogs run. The
 * kernel image stands beside its modules, where ostree looks for it and forky's packages have it.
 */
export async function ensureTrixie(variant: Variant = 'base'): Promise<string> {
  return await ensureChroot(`trixie-${variant}`, {
    suite: 'trixie',
    packages: variant === 'base' ? BASE_PACKAGES : [...BASE_PACKAGES, ...DEVICE_DEPENDENCIES],
    extra: TRIXIE_HOOKS,
  });
}

/** Makes the tree, with the verifier of the present sources, when it is not there; an existing one is never changed. */
export async function ensureOsTree(options: OsTreeOptions): Promise<OsTree> {
  const prepareRoot = await buildPrepareRoot();
  const chroot = await ensureTrixie(options.variant);
  const recipe = {
    variant: options.variant,
    chroot: path.basename(chroot),
    publicKey: readFileSync(options.publicKey, 'utf8'),
    prepareRoot: hashOf(prepareRoot),
    devicePackage: options.variant === 'next' ? path.basename(await ensureDevicePackage()) : undefined,
    sources: RECIPE_SOURCES.map((source) => hashOf(path.join(PROJECT_ROOT, source))),
  };
  const tree = await ensureCached({
    kind: 'trees',
    name: `os-${options.variant}`,
    recipe,
    build: (temporary) => makeTree(temporary, chroot, { ...options, prepareRoot }),
    discard: discardTree,
  });
  return await describeTree(tree);
}

async function makeTree(
  tree: string,
  chroot: string,
  options: OsTreeOptions & { prepareRoot: string },
): Promise<void> {
  await mkdir(path.dirname(tree), { recursive: true });
  // Owners, hard links and set-user-id bits belong to the tree; cp of node:fs keeps none of them.
  await runHere(['cp', '--archive', '--reflink=auto', chroot, tree]);
  await installGuest(tree);
  await installSealedBoot(tree, options);
  if (options.variant === 'next') {
    await installInto(tree);
    await writeFile(path.join(tree, 'usr/lib/sealroot-test/version'), 'next\n');
  }
  const kernelVersion = await kernelVersionOf(tree);
  await buildInitramfs(tree, { kernelVersion, output: `/usr/lib/modules/${kernelVersion}/initramfs.img` });
  await toOstreeLayout(tree);
}

/** Over names, modes and contents of a file or a folder. */
function hashOf(item: string): string {
  const hash = createHash('sha256');
  const visit = (file: string, name: string): void => {
    const status = statSync(file);
    hash.update(`${name}\0${status.mode}\0`);
    if (status.isDirectory()) {
      for (const entry of readdirSync(file).sort()) visit(path.join(file, entry), `${name}/${entry}`);
    } else {
      hash.update(readFileSync(file)).update('\0');
    }
  };
  visit(item, '');
  return hash.digest('hex');
}

async function describeTree(tree: string): Promise<OsTree> {
  const kernelVersion = await kernelVersionOf(tree);
  const modules = path.join(tree, 'usr/lib/modules', kernelVersion);
  return {
    path: tree,
    kernelVersion,
    kernel: path.join(modules, 'vmlinuz'),
    initramfs: path.join(modules, 'initramfs.img'),
  };
}

/** The one kernel of a tree; two would leave open which one boots. */
export async function kernelVersionOf(tree: string): Promise<string> {
  const versions = await readdir(path.join(tree, 'usr/lib/modules'));
  const [version] = versions;
  if (version === undefined || versions.length !== 1) {
    const fact = `${versions.length} kernels in usr/lib/modules, expected 1`;
    throw systemError('kernel-ambiguous', `cannot use ${tree}: ${fact}`);
  }
  return version;
}

/**
 * The real initramfs: dracut and systemd with sealroot's module, made in the tree that it will boot. Lean, because
 * an emulated machine unpacks every byte: drivers that no test machine has, and conveniences, stay out.
 */
import { chmod, copyFile, cp, mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { runIn } from '../tools/chroots.ts';

const PROJECT_ROOT = path.join(import.meta.dirname, '..');

/** Where everything lies in the OS tree, before /etc becomes /usr/etc. */
export const TREE_PATHS = {
  prepareRoot: 'usr/lib/sealroot/sealroot-prepare-root',
  policy: 'usr/lib/sealroot/prepare-root.conf',
  key: 'etc/ostree/initramfs-root-binding.key',
  unit: 'usr/lib/systemd/system/sealroot-prepare-root.service',
  dracutModule: 'usr/lib/dracut/modules.d/50sealroot',
  dracutConfiguration: 'usr/lib/dracut/dracut.conf.d/50-sealroot.conf',
} as const;

const POLICY = `[composefs]
enabled=signed
[sysroot]
readonly=true
`;

/** What a virtual machine with a virtio disk and ext4 can do without. */
const LEAN_OMIT = [
  ...['kernel-modules', 'kernel-modules-extra', 'hwdb', 'qemu', 'nvdimm', 'lunmask', 'resume', 'terminfo'],
  ...[
    'virtfs',
    'virtiofs',
    'usrmount',
    'i18n',
    'btrfs',
    'crypt',
    'dm',
    'lvm',
    'mdraid',
    'multipath',
    'plymouth',
  ],
  ...['systemd-battery-check', 'systemd-pcrphase', 'systemd-cryptsetup', 'network', 'drm', 'nfs', 'bash'],
];

/** Same bytes on every day: the time stamps of the archive. */
const SOURCE_DATE_EPOCH = '1750000000';

export interface SealedBootFiles {
  prepareRoot: string;
  publicKey: string;
}

/** Puts sealroot's initramfs half into an ordinary (not yet ostree) tree. */
export async function installSealedBoot(
  tree: string,
  { prepareRoot, publicKey }: SealedBootFiles,
): Promise<void> {
  const place = async (source: string, target: string, mode: number): Promise<void> => {
    const file = path.join(tree, target);
    await mkdir(path.dirname(file), { recursive: true });
    await copyFile(source, file);
    await chmod(file, mode);
  };
  await place(prepareRoot, TREE_PATHS.prepareRoot, 0o755);
  await place(publicKey, TREE_PATHS.key, 0o644);
  await place(path.join(PROJECT_ROOT, 'systemd/sealroot-prepare-root.service'), TREE_PATHS.unit, 0o644);
  await place(
    path.join(PROJECT_ROOT, 'dracut-module/50-sealroot.conf'),
    TREE_PATHS.dracutConfiguration,
    0o644,
  );
  await cp(path.join(PROJECT_ROOT, 'dracut-module/50sealroot'), path.join(tree, TREE_PATHS.dracutModule), {
    recursive: true,
  });
  await writeFile(path.join(tree, TREE_PATHS.policy), POLICY);
}

export interface InitramfsOptions {
  kernelVersion: string;
  /** Where the image goes, in the tree. */
  output: string;
  /** Further dracut modules to leave out or to take in. */
  omit?: readonly string[];
  add?: readonly string[];
  /** Only these and what they depend on: quick, and enough to see what one module does. */
  only?: readonly string[];
  /** Further kernel modules. */
  drivers?: readonly string[];
}

/** Runs the tree's own dracut in it. Rejects with dracut's last words when it fails; then there is no image. */
export async function buildInitramfs(tree: string, options: InitramfsOptions): Promise<void> {
  const { kernelVersion, output, omit = [], add = [], only = [], drivers = [] } = options;
  await runIn(
    tree,
    [
      'dracut',
      ...['--quiet', '--force', '--no-hostonly', '--no-hostonly-cmdline', '--reproducible', '--zstd'],
      ...['--kver', kernelVersion],
      // Loaded before udev looks for devices: saves seconds of emulated time.
      ...['--force-drivers', 'virtio_blk'],
      ...['--omit', [...LEAN_OMIT, ...omit].join(' ')],
      ...(add.length === 0 ? [] : ['--add', add.join(' ')]),
      ...(only.length === 0 ? [] : ['--modules', only.join(' ')]),
      ...(drivers.length === 0 ? [] : ['--add-drivers', drivers.join(' ')]),
      output,
    ],
    { env: { SOURCE_DATE_EPOCH } },
  );
}

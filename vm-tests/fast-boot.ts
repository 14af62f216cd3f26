/**
 * The fast boot: about four seconds under TCG, because its initramfs holds nothing but busybox, the kernel modules of
 * the root file system, sealroot-prepare-root and the case's own files. What systemd and dracut add is shown by the
 * cases that boot the whole system; here only prepare-root and the kernel decide.
 *
 * The archive has two parts: one for all cases, and one behind it with policy, key and script, which replaces files
 * of the same path. Swapping a key takes milliseconds.
 */
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { type CpioEntry, characterDevice, cpioArchive, directory, file } from './cpio.ts';
import { type Kernel, loadModules } from './kernel-modules.ts';
import type { Boot } from './machine.ts';

const INIT_FOLDER = path.join(import.meta.dirname, 'fast-guest');
const EVENTS = path.join(import.meta.dirname, 'guest/events.sh');
/** The package busybox-static; a dynamic one would need its libraries in the initramfs. */
const BUSYBOX = '/bin/busybox';
/** What a root file system and a composefs over it need. */
export const ROOT_MODULES = [
  'virtio_pci',
  'virtio_console',
  'virtio_blk',
  'ext4',
  'loop',
  'erofs',
  'overlay',
];

export const PREPARE_ROOT_PATH = 'usr/lib/sealroot/sealroot-prepare-root';
export const POLICY_PATH = 'usr/lib/sealroot/prepare-root.conf';
export const KEY_PATH = 'etc/ostree/initramfs-root-binding.key';

export interface FastBootFiles {
  /** The static binary; absent only for guests without a disk. */
  readonly prepareRoot?: string;
  readonly policy?: string;
  /** One public key a line. */
  readonly keys?: string;
  /** Runs in the sealed root, as process 2 of it, under /bin/sh; its exit status is the guest's. */
  readonly script?: string;
  /** Sourced instead of any mount; for guests without a disk. */
  readonly beforeRoot?: string;
  readonly extra?: readonly CpioEntry[];
}

async function fixedPart(kernel: Kernel, prepareRoot: string | undefined): Promise<Buffer> {
  const guest = (name: string) => readFile(path.join(INIT_FOLDER, name));
  // Without a disk there is nothing to load; the harness's own cases start sooner.
  const modules = prepareRoot === undefined ? [] : await loadModules(kernel, ROOT_MODULES);
  const folders = [
    'bin',
    'dev',
    'case',
    'etc',
    'etc/ostree',
    'modules.d',
    'usr',
    'usr/lib',
    'usr/lib/sealroot',
  ];
  return cpioArchive([
    ...folders.map((name) => directory(name)),
    characterDevice('dev/console', 5, 1),
    file('bin/busybox', await readFile(BUSYBOX), 0o755),
    file('init', await guest('init.sh'), 0o755),
    file('case/events.sh', await readFile(EVENTS)),
    file('case/finish.sh', await guest('finish.sh')),
    file('case/switched.sh', await guest('switched.sh')),
    file('modules', modules.map(({ name }) => `${name}\n`).join('')),
    ...modules.map(({ name, data }) => file(`modules.d/${name}.ko`, data)),
    ...(prepareRoot === undefined ? [] : [file(PREPARE_ROOT_PATH, await readFile(prepareRoot), 0o755)]),
  ]);
}

const fixedParts = new Map<string, Promise<Buffer>>();

/** Writes the initramfs to `target` and says how to boot it. */
export async function fastBoot(
  kernel: Kernel,
  files: FastBootFiles,
  commandLine: string,
  target: string,
): Promise<Boot> {
  const key = `${kernel.modulesFolder}\0${files.prepareRoot ?? ''}`;
  const fixed = fixedParts.get(key) ?? fixedPart(kernel, files.prepareRoot);
  fixedParts.set(key, fixed);
  const own: CpioEntry[] = [];
  const add = (name: string, text: string | undefined) => {
    if (text !== undefined) own.push(file(name, text));
  };
  add(POLICY_PATH, files.policy);
  add(KEY_PATH, files.keys);
  add('case/script', files.script);
  add('case/before-root', files.beforeRoot);
  await writeFile(target, [await fixed, cpioArchive([...own, ...(files.extra ?? [])])]);
  return { kind: 'kernel', kernel: kernel.image, initrd: target, commandLine };
}

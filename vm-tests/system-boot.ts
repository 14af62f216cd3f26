/**
 * The whole boot: the kernel, dracut's initramfs with systemd as the deployment has it, and the whole system behind
 * it. A script reaches the sealed system on a disk of its own (guest-unit.ts), so the image under test is the one
 * that was signed. What a case changes in the initramfs is a second archive behind the first.
 */
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { BaseDisk } from './base-disk.ts';
import type { CaseContext } from './case.ts';
import { type CpioEntry, cpioArchive } from './cpio.ts';
import { CASE_DISK_SERIAL } from './guest-unit.ts';
import type { Disk, Machine } from './machine.ts';

/** 20 s for the initramfs and as long again for the system, alone on a quiet machine; a busy one takes many times that. */
export const SYSTEM_BOOT_SECONDS = 900;
export const SYSTEM_BOOT_MIB = 1024;

/**
 * A failed boot ends the machine instead of halting it, and what systemd notes about its units reaches the console:
 * the exit status of prepare-root is in there.
 */
export const SYSTEM_ARGUMENTS = [
  'rd.shell=0',
  'rd.emergency=poweroff',
  'systemd.journald.forward_to_console=1',
  // prepare-root's line of success has that level.
  'systemd.journald.max_level_console=info',
];

/**
 * Against a fifth of an emulated boot: systemd computes anew for each service which system calls it may use, and the
 * file system that nobody has touched is checked. Neither has to do with the root that prepare-root mounts.
 */
export const QUICK_ARGUMENTS = ['SYSTEMD_SECCOMP=0', 'fsck.mode=skip'];

/**
 * For boots that are to come to their script and no further: mounts and services of the sealed system that no script
 * uses. Each is two programs more to start. Not in the initramfs, where sealroot forbids such arguments.
 */
export const FEW_UNITS = [
  ...['dev-hugepages.mount', 'dev-mqueue.mount', 'sys-kernel-debug.mount', 'sys-kernel-tracing.mount'],
  ...[
    'sys-kernel-config.mount',
    'sys-fs-fuse-connections.mount',
    'run-lock.mount',
    'kmod-static-nodes.service',
  ],
  ...['modprobe@configfs.service', 'modprobe@drm.service', 'modprobe@efi_pstore.service'],
  ...['modprobe@fuse.service', 'systemd-udev-load-credentials.service', 'dracut-shutdown.service'],
  ...[
    'dbus.socket',
    'dbus.service',
    'systemd-logind.service',
    'systemd-user-sessions.service',
    'getty@tty1.service',
  ],
].map((unit) => `systemd.mask=${unit}`);

export interface SystemBootOptions {
  readonly name: string;
  readonly disk: Disk;
  /** Behind it. */
  readonly moreDisks?: readonly Disk[];
  readonly commandLine: string;
  /** Runs as a service of the sealed system when it is up. */
  readonly script: string;
  /** Files of the initramfs, in place of those that dracut put there. */
  readonly initramfsFiles?: readonly CpioEntry[];
}

/** Writes `script` to `target` as the disk that the guest's unit reads it from. */
export async function scriptDisk(target: string, script: string): Promise<Disk> {
  const text = Buffer.from(script);
  await writeFile(target, [text, Buffer.alloc(4096 - (text.length % 4096))]);
  return { file: target, format: 'raw', writes: 'refuse', serial: CASE_DISK_SERIAL };
}

/** Starts the boot; the caller waits for what it expects. */
export async function startSystem(
  context: Pick<CaseContext, 'folder' | 'start'>,
  base: { readonly kernel: Pick<BaseDisk['kernel'], 'image'>; readonly initramfs: string },
  options: SystemBootOptions,
): Promise<Machine> {
  const { name, disk, moreDisks = [], commandLine, script, initramfsFiles = [] } = options;
  const file = (extension: string) => path.join(context.folder, `${name}.${extension}`);
  const own = await readFile(base.initramfs);
  // An uncompressed archive is recognised only where its offset is a multiple of four; NUL bytes before it are skipped.
  const padding = Buffer.alloc((512 - (own.length % 512)) % 512);
  const added = initramfsFiles.length === 0 ? Buffer.alloc(0) : cpioArchive(initramfsFiles);
  await writeFile(file('initramfs'), [own, padding, added]);
  return await context.start({
    name,
    boot: { kind: 'kernel', kernel: base.kernel.image, initrd: file('initramfs'), commandLine },
    disks: [disk, await scriptDisk(file('script'), script), ...moreDisks],
    memoryMiB: SYSTEM_BOOT_MIB,
  });
}

/**
 * The way of a real machine: UEFI firmware, systemd-boot from the ESP, its entry, kernel and initramfs from there,
 * and the root from a qcow2 disk; everything as `sealroot disk create` wrote it, nothing handed in by QEMU.
 */
import { copyFile } from 'node:fs/promises';
import path from 'node:path';
import { ensureBaseDisk, OS_NAME, OS_REF, sealroot } from '../base-disk.ts';
import type { VmCase } from '../case.ts';
import { HARNESS_KERNEL_ARGUMENTS } from '../machine.ts';
import { requireSystemBooted } from '../outcome.ts';
import { PROVE_ROOT } from '../refusal.ts';
import { SYSTEM_ARGUMENTS, SYSTEM_BOOT_MIB, SYSTEM_BOOT_SECONDS, scriptDisk } from '../system-boot.ts';

/** Debian's package ovmf. */
const FIRMWARE = '/usr/share/OVMF/OVMF_CODE_4M.fd';
const FIRMWARE_VARIABLES = '/usr/share/OVMF/OVMF_VARS_4M.fd';

export default {
  title: 'a qcow2 disk boots sealed through UEFI and systemd-boot',
  deadlineSeconds: 1200,
  async run(context) {
    const base = await ensureBaseDisk();
    const disk = path.join(context.folder, 'disk.qcow2');
    const variables = path.join(context.folder, 'variables.fd');
    await context.step('the disk is made as a user makes it', async () => {
      await sealroot([
        ...['disk', 'create', '--repo', base.repo, '--ref', OS_REF, '--os', OS_NAME],
        ...['--pubkey', base.keys.publicKey, '--output', disk],
        ...[...HARNESS_KERNEL_ARGUMENTS, ...SYSTEM_ARGUMENTS].flatMap((argument) => ['--karg', argument]),
      ]);
      await copyFile(FIRMWARE_VARIABLES, variables);
    });
    await context.step('firmware, boot loader, kernel and the sealed root follow each other', async () => {
      const machine = await context.start({
        name: 'firmware',
        boot: { kind: 'firmware', code: FIRMWARE, variables },
        disks: [
          { file: disk, format: 'qcow2', writes: 'discard' },
          await scriptDisk(path.join(context.folder, 'script'), PROVE_ROOT),
        ],
        memoryMiB: SYSTEM_BOOT_MIB,
      });
      await machine.waitForEnd(SYSTEM_BOOT_SECONDS);
      requireSystemBooted(machine, base);
    });
  },
} satisfies VmCase;

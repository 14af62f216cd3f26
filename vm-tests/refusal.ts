/**
 * The shape of every refusal case: the case's own disk boots untampered, with the same arguments, to the success
 * marker; then it differs by what the case names and by nothing else, and prepare-root must refuse it with exactly
 * that code. Without the first boot a refusal would prove nothing: a disk that never boots refuses everything.
 */

import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { type BaseDisk, ensureBaseDisk } from './base-disk.ts';
import type { CaseContext, VmCase } from './case.ts';
import type { CpioEntry } from './cpio.ts';
import { type FastBootFiles, fastBoot } from './fast-boot.ts';
import type { Disk, Machine } from './machine.ts';
import { requireBooted, requireRefused, requireSystemBooted, requireSystemRefused } from './outcome.ts';
import {
  FEW_UNITS,
  QUICK_ARGUMENTS,
  SYSTEM_ARGUMENTS,
  SYSTEM_BOOT_SECONDS,
  startSystem,
} from './system-boot.ts';
import { copyDisk, Ext4Image } from './tamper.ts';

/** A boot of some four seconds; on a machine with a load of 16 on its two cores it took 65. */
export const FAST_BOOT_SECONDS = 300;
const FAST_BOOT_MIB = 512;

export const SEALED_POLICY = '[composefs]\nenabled=signed\n[sysroot]\nreadonly=true\n';

/** The success marker: what the sealed root itself says of its root mount. */
export const PROVE_ROOT = `. /run/case/events.sh
capture root sh -c 'while read -r id parent device root place rest; do
    [ "$place" != / ] || echo "$rest"
done </proc/self/mountinfo'
`;

/** What one boot differs in. */
export interface Change {
  /** Of the disk's kernel arguments. */
  readonly commandLine?: (line: string) => string;
  /** Files of the initramfs, in place of the usual ones. */
  readonly files?: FastBootFiles;
  /** Behind the one that boots. */
  readonly moreDisks?: readonly Disk[];
}

export class RefusalCase {
  readonly context: CaseContext;
  readonly base: BaseDisk;
  /** This case's own copy. */
  readonly disk: Ext4Image;
  #boots = 0;

  constructor(context: CaseContext, base: BaseDisk) {
    this.context = context;
    this.base = base;
    this.disk = new Ext4Image(path.join(context.folder, 'disk.raw'), base.rootOffset);
    copyDisk(base.image, this.disk.image);
  }

  get imagePath(): string {
    return `${this.base.deployment}/.ostree.cfs`;
  }

  get commitPath(): string {
    return objectPath(this.base.commit, 'commit');
  }

  get commitMetaPath(): string {
    return objectPath(this.base.commit, 'commitmeta');
  }

  /** Where the deployment would lie if it were of that commit. */
  deploymentOf(commit: string): string {
    return this.base.deployment.replace(this.base.commit, commit);
  }

  /** The deployment becomes that of another commit: its folder, its origin, and the link that `ostree=` names. */
  renameDeployment(commit: string): void {
    const { base, disk } = this;
    const folder = path.posix.dirname(base.deployment);
    const name = path.posix.basename(base.deployment);
    disk.rename(folder, name, name.replace(base.commit, commit));
    disk.rename(folder, `${name}.origin`, `${name.replace(base.commit, commit)}.origin`);
    const link = this.bootLink;
    const target = disk.readLink(link);
    if (!target.includes(base.commit)) throw new Error(`cannot redirect ${link}: it points to ${target}`);
    disk.replaceLink(link, target.replace(base.commit, commit));
  }

  /** The link at the end of `ostree=/ostree/boot.N/OS/BOOTCSUM/0`; `boot.N` is itself a link, to `boot.N.M`. */
  get bootLink(): string {
    const argument = / ostree=(\/ostree\/(boot\.[01])\/\S+)/.exec(` ${this.base.kernelArguments}`);
    const [, whole, boot] = argument ?? [];
    if (whole === undefined || boot === undefined) {
      throw new Error(`cannot find ostree= in ${this.base.kernelArguments}`);
    }
    return whole.replace(boot, path.posix.basename(this.disk.readLink(`/ostree/${boot}`)));
  }

  /** Undoes all tampering. */
  restore(): void {
    copyDisk(this.base.image, this.disk.image);
  }

  /** Starts a fast boot; writes of the guest are discarded. */
  async start(name: string, change: Change = {}): Promise<Machine> {
    const { base, context } = this;
    const files: FastBootFiles = {
      prepareRoot: base.prepareRoot,
      policy: SEALED_POLICY,
      keys: await readFile(base.keys.publicKey, 'utf8'),
      script: PROVE_ROOT,
      ...change.files,
    };
    const line = change.commandLine?.(base.kernelArguments) ?? base.kernelArguments;
    const target = path.join(context.folder, `${++this.#boots}.cpio`);
    const boot = await fastBoot(base.kernel, files, line, target);
    const disk = { file: this.disk.image, format: 'raw', writes: 'discard' } as const;
    const disks = [disk, ...(change.moreDisks ?? [])];
    return await context.start({ name, boot, disks, memoryMiB: FAST_BOOT_MIB });
  }

  /** One fast boot to its end. */
  async boot(name: string, change: Change = {}): Promise<Machine> {
    const machine = await this.start(name, change);
    await machine.waitForEnd(FAST_BOOT_SECONDS);
    return machine;
  }

  /** The untampered disk must boot, to a root that the kernel checks. */
  async bootsUntampered(change: Change = {}): Promise<void> {
    await this.context.step('the untampered disk boots', async () => {
      requireBooted(await this.boot('untampered-fast', change), this.base);
    });
  }

  /** Boots what the disk is now, to the same marker. */
  async bootsAgain(name: string, change: Change = {}): Promise<void> {
    requireBooted(await this.boot(name, change), this.base);
  }

  /** Boots what the disk is now, and demands exactly this refusal. */
  async isRefused(title: string, code: string, change: Change = {}): Promise<void> {
    await this.context.step(`${title}: refused with ${code}`, async () => {
      const name = title.replaceAll(/[^\w]+/g, '-');
      requireRefused(await this.boot(name, change), code);
    });
  }
}

export function objectPath(commit: string, type: 'commit' | 'commitmeta'): string {
  return `/ostree/repo/objects/${commit.slice(0, 2)}/${commit.slice(2)}.${type}`;
}

/** What one boot of the whole system differs in. */
export interface SystemChange {
  readonly commandLine?: (line: string) => string;
  readonly initramfsFiles?: readonly CpioEntry[];
}

/** The same under dracut and systemd, where the units around prepare-root decide what its refusal means. */
export class SystemRefusalCase extends RefusalCase {
  /** Starts the whole system; the caller waits. */
  async startSystem(name: string, change: SystemChange = {}): Promise<Machine> {
    const line = [this.base.kernelArguments, ...SYSTEM_ARGUMENTS, ...QUICK_ARGUMENTS, ...FEW_UNITS].join(' ');
    return await startSystem(this.context, this.base, {
      name,
      disk: { file: this.disk.image, format: 'raw', writes: 'discard' },
      commandLine: change.commandLine?.(line) ?? line,
      script: PROVE_ROOT,
      ...(change.initramfsFiles === undefined ? {} : { initramfsFiles: change.initramfsFiles }),
    });
  }

  async systemBootsUntampered(change: SystemChange = {}): Promise<void> {
    await this.context.step('the whole system boots from the untampered disk', async () => {
      const machine = await this.startSystem('untampered', change);
      await machine.waitForEnd(SYSTEM_BOOT_SECONDS);
      requireSystemBooted(machine, this.base);
    });
  }

  async systemIsRefused(title: string, code: string, change: SystemChange = {}): Promise<void> {
    await this.context.step(`${title}: refused with ${code}`, async () => {
      const machine = await this.startSystem(title.replaceAll(/[^\w]+/g, '-'), change);
      await machine.waitForEnd(SYSTEM_BOOT_SECONDS);
      requireSystemRefused(machine, code);
    });
  }
}

/** The commonest case: one change of the disk, one code. */
export function refusalCase(options: {
  title: string;
  code: string;
  tamper(refusal: RefusalCase): void | Promise<void>;
}): VmCase {
  return {
    title: options.title,
    deadlineSeconds: 1500,
    async run(context) {
      const refusal = new RefusalCase(context, await ensureBaseDisk());
      await refusal.bootsUntampered();
      await options.tamper(refusal);
      await refusal.isRefused(options.title, options.code);
    },
  };
}

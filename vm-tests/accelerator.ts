/**
 * KVM or emulation. /dev/kvm may be there and still not run a guest (nested virtualisation that hangs, a kernel
 * without the CPU's extension), so KVM is used only after a guest has booted under it. The answer is kept per QEMU,
 * host kernel and CPU; SEALROOT_VM_ACCEL=kvm|tcg overrides it.
 */
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { cpus, release } from 'node:os';
import path from 'node:path';
import { usageError } from '../src/formats/errors.ts';
import { CACHE_DIR, recipeHash, withLock } from '../tools/cache.ts';
import { runHere } from '../tools/chroots.ts';
import { fastBoot } from './fast-boot.ts';
import { testKernel } from './guest-kernel.ts';
import { type Accelerator, startMachine } from './machine.ts';

const PROBE_SECONDS = 30;

let chosen: Promise<Accelerator> | undefined;

/** The same answer for the whole process. */
export function chooseAccelerator(): Promise<Accelerator> {
  chosen ??= choose(process.env.SEALROOT_VM_ACCEL);
  return chosen;
}

async function choose(wanted: string | undefined): Promise<Accelerator> {
  if (wanted === 'kvm' || wanted === 'tcg') return wanted;
  if (wanted !== undefined && wanted !== '') {
    throw usageError('vm-accel-unknown', `cannot use SEALROOT_VM_ACCEL=${wanted}: neither kvm nor tcg`);
  }
  if (!kvmMayBeOpened()) return 'tcg';
  const version = (await runHere(['qemu-system-x86_64', '--version'])).stdout.toString().split('\n')[0];
  const host = { version, kernel: release(), cpu: cpus()[0]?.model, bootId: bootId() };
  const folder = path.join(CACHE_DIR, 'vm');
  const answer = path.join(folder, `accelerator-${recipeHash(host)}`);
  await mkdir(folder, { recursive: true });
  return await withLock(`${answer}.lock`, async () => {
    if (!existsSync(answer)) await writeFile(answer, (await kvmRunsGuest(folder)) ? 'kvm\n' : 'tcg\n');
    return (await readFile(answer, 'utf8')) === 'kvm\n' ? 'kvm' : 'tcg';
  });
}

function kvmMayBeOpened(): boolean {
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** A virtual machine that moved to another host keeps its kernel and loses its nested virtualisation. */
function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

async function kvmRunsGuest(folder: string): Promise<boolean> {
  const name = 'kvm-probe';
  const initrd = path.join(folder, `${name}.cpio`);
  try {
    const boot = await fastBoot(await testKernel(), { beforeRoot: 'event kvm-works\n' }, '', initrd);
    const options = { name, logFolder: folder, boot, disks: [], memoryMiB: 256 };
    const machine = await startMachine({ ...options, accelerator: 'kvm' });
    await machine.waitForEnd(PROBE_SECONDS);
    return machine.done?.status === 0;
  } catch {
    // Whatever went wrong under KVM, emulation is the answer.
    return false;
  } finally {
    await rm(initrd, { force: true });
  }
}

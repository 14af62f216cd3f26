/**
 * ostree-prepare-root and ours by turns over one disk with fs-verity, in one guest, each run in a mount namespace of its
 * own with a /run of its own: the same mounts, the same word to the booted system, the same access. What only ours can do,
 * because Debian's is built without signatures, stands beside it: sealed policies with what they allow.
 *
 * The whole table of modes is test/oracles/prepare-root-parity.test.ts, which needs no guest and has no fs-verity.
 */
import { strict as assert } from 'node:assert';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { REFERENCE_PATH, referenceFiles } from '../../test/bench/reference.ts';
import { runHere } from '../../tools/chroots.ts';
import { type BaseDisk, ensureBaseDisk } from '../base-disk.ts';
import type { CaseContext, VmCase } from '../case.ts';
import { type CpioEntry, file } from '../cpio.ts';
import { fastBoot, POLICY_PATH, PREPARE_ROOT_PATH } from '../fast-boot.ts';
import type { Machine } from '../machine.ts';
import { captured, requireDone } from '../outcome.ts';
import { comparable, OBSERVE, type Outcome, parseOutcome } from '../parity-outcome.ts';
import { FAST_BOOT_SECONDS, RefusalCase } from '../refusal.ts';
import type { Ext4Image } from '../tamper.ts';

const LESSER_KERNEL = 'bin/lesser-kernel';
const REFERENCE_POLICY = 'usr/lib/ostree/prepare-root.conf';

interface Mode {
  readonly name: string;
  readonly policy: string;
  /** What the kernel lacks, as letters of test/oracles/lesser-kernel.c. */
  readonly lacks?: string;
}

const ETC = '[etc]\ntransient=true\n';
const ROOT = '[root]\ntransient=true\n';
const mode = (enabled: string, more = ''): string => `[composefs]\nenabled=${enabled}\n${more}`;

interface Modes {
  readonly alike: readonly Mode[];
  readonly sealed: readonly Mode[];
}

const USUAL: Modes = {
  alike: [
    { name: 'verity', policy: mode('verity') },
    { name: 'verity-transient', policy: mode('verity', `${ETC}${ROOT}`) },
    { name: 'yes', policy: mode('yes', ETC) },
    { name: 'maybe', policy: mode('maybe', '[root]\ntransient-ro=true\n') },
    { name: 'no', policy: mode('no') },
    { name: 'no-readonly', policy: mode('no', `[sysroot]\nreadonly=true\n${ETC}`) },
  ],
  sealed: [
    { name: 'signed', policy: mode('signed') },
    { name: 'signed-etc', policy: mode('signed', ETC) },
    { name: 'signed-root', policy: mode('signed', ROOT) },
    { name: 'signed-loop', policy: mode('signed'), lacks: 'af' },
  ],
};
/** On a disk with what \`ostree admin unlock --hotfix\` leaves. */
const HOTFIX: Modes = {
  alike: [
    { name: 'verity-hotfix', policy: mode('verity') },
    { name: 'no-hotfix', policy: mode('no', ETC) },
  ],
  sealed: [{ name: 'signed-hotfix', policy: mode('signed') }],
};

/** On a disk with one bit of the image's superblock flipped. */
const FLIPPED: Mode = { name: 'signed-flipped', policy: mode('signed'), lacks: 'f' };

/** Sourced by the fast boot's /init before it would mount the disk. */
function guestScript(deployment: string, { alike, sealed }: Modes): string {
  const turn = ({ name, policy, lacks }: Mode, program: 'sealroot' | 'reference') => {
    const path = program === 'sealroot' ? `/${PREPARE_ROOT_PATH}` : REFERENCE_PATH;
    const command = lacks === undefined ? path : `/${LESSER_KERNEL} ${lacks} ${path}`;
    return `turn ${program}-${name} '${command}' '${policy}'`;
  };
  return `
mount -t ext4 -o rw /dev/vda2 /sysroot || finish 1 'mount of /dev/vda2 failed'
cat >/observe <<'END'
mount -t tmpfs -o mode=0755 run /run
$1 /sysroot >/said 2>&1
status=$?; root=; said=/said; deployment=${deployment}; files='etc/hostname usr/lib/os-release usr/added'
${OBSERVE}
END
turn() {
    printf '%s' "$3" >/${POLICY_PATH}
    printf '%s' "$3" >/${REFERENCE_POLICY}
    capture "$1" unshare -m sh /observe "$2"
}
${alike.map((mode) => `${turn(mode, 'reference')}\n${turn(mode, 'sealroot')}`).join('\n')}
${sealed.map((mode) => turn(mode, 'sealroot')).join('\n')}
`;
}

async function lesserKernel(folder: string): Promise<CpioEntry> {
  const program = path.join(folder, 'lesser-kernel');
  const source = path.join(import.meta.dirname, '../../test/oracles/lesser-kernel.c');
  const flags = ['-std=gnu11', '-O1', '-Wall', '-Wextra', '-Werror', '-static', '-s'];
  await runHere(['musl-gcc', ...flags, '-o', program, source]);
  return file(LESSER_KERNEL, await readFile(program), 0o755);
}

class Parity {
  readonly context: CaseContext;
  readonly base: BaseDisk;
  readonly disk: Ext4Image;
  /** The reference, and what lets a kernel seem less. */
  readonly programs: readonly CpioEntry[];

  constructor({ context, base, disk }: RefusalCase, programs: readonly CpioEntry[]) {
    this.context = context;
    this.base = base;
    this.disk = disk;
    this.programs = programs;
  }

  get #deployment(): string {
    return this.base.deployment.slice(1);
  }

  async #guest(name: string, modes: Modes): Promise<Machine> {
    const { base, context, disk, programs } = this;
    const files = {
      prepareRoot: base.prepareRoot,
      policy: '',
      keys: await readFile(base.keys.publicKey, 'utf8'),
      beforeRoot: guestScript(this.#deployment, modes),
      extra: [...programs, file(REFERENCE_POLICY, '')],
    };
    const initramfs = path.join(context.folder, `${name}.cpio`);
    const boot = await fastBoot(base.kernel, files, base.kernelArguments, initramfs);
    const disks = [{ file: disk.image, format: 'raw', writes: 'discard' }] as const;
    const machine = await context.start({ name, boot, disks, memoryMiB: 512 });
    await machine.waitForEnd(FAST_BOOT_SECONDS);
    requireDone(machine);
    return machine;
  }

  #outcome(machine: Machine, program: string, { name }: Mode): Outcome {
    return parseOutcome(captured(machine, `${program}-${name}`).output, '', this.#deployment);
  }

  /** Direct I/O of a loop device does not go around fs-verity: the kernel reads such files by their pages all the same. */
  async refusesFlippedBit(): Promise<void> {
    await this.context.step('a flipped bit below a loop device: refused', async () => {
      const machine = await this.#guest('flipped', { alike: [], sealed: [FLIPPED] });
      const { status, said, loops } = this.#outcome(machine, 'sealroot', FLIPPED);
      assert.deepEqual([status, loops], [1, []]);
      assert.match(said, /error: image-unreadable: .*: EIO, /);
    });
  }

  /** Every mode in one guest. */
  async compare(name: string, modes: Modes): Promise<void> {
    const { context } = this;
    const machine = await context.step(`${name}: both run in one guest`, () => this.#guest(name, modes));
    const outcome = (program: string, mode: Mode) => this.#outcome(machine, program, mode);
    for (const mode of modes.alike) {
      await context.step(`${mode.name}: alike`, () => {
        requireAlike(mode.name, outcome('reference', mode), outcome('sealroot', mode));
      });
    }
    for (const mode of modes.sealed) {
      await context.step(`${mode.name}: sealed`, () => requireSealed(mode.name, outcome('sealroot', mode)));
    }
  }
}

function requireAlike(name: string, reference: Outcome, ours: Outcome): void {
  assert.equal(reference.status, 0, reference.said);
  assert.equal(ours.status, 0, ours.said);
  assert.deepEqual(comparable(withoutBoot(ours)), comparable(reference));
  assert.equal(ours.access.includes('usr/added=hotfix'), name.endsWith('-hotfix'));
}

/** Ours mounts /boot, too, which the reference leaves to its generator. */
function withoutBoot({ mounts, ...rest }: Outcome): Outcome {
  const boot = mounts.filter((line) => line.startsWith('/sysroot/boot on /sysroot '));
  assert.equal(boot.length, 1, mounts.join('\n'));
  return { ...rest, mounts: mounts.filter((line) => line !== boot[0]) };
}

/** What each sealed mode comes to. */
function requireSealed(name: string, { status, said, mounts, record, loops, access }: Outcome): void {
  assert.equal(status, 0, said);
  const root = mounts.find((line) => line.includes(' overlay composefs '));
  assert.match(root ?? '', /verity=require/);
  assert.match(record, /composefs\.signed/);
  const writable = (folder: string) => access.includes(`${folder} writable`);
  const isRoot = name === 'signed-root';
  assert.deepEqual([writable('.'), writable('usr'), writable('etc')], [isRoot, isRoot, true]);
  assert.ok(access.some((line) => /^usr\/lib\/os-release=PRETTY_NAME=/.test(line)));
  assert.equal(
    mounts.some((line) => /^\/sysroot\/etc on \/sysroot .* overlay overlay /.test(line)),
    name === 'signed-etc',
  );
  assert.equal(record.includes('transient-etc'), name === 'signed-etc');
  assert.deepEqual(loops, name === 'signed-loop' ? ['1 1 1 4096 '] : []);
  // What is kept beside a deployment is signed by nobody: named, and not mounted.
  assert.ok(!mounts.some((line) => line.startsWith('/sysroot/usr ')));
  assert.ok(!access.some((line) => line.startsWith('usr/added')));
  assert.equal(said.includes('.usr-ovl-work over /usr: the boot is sealed'), name === 'signed-hotfix');
}

export default {
  title: 'beside ostree-prepare-root, the same root by the same configuration',
  deadlineSeconds: 1200,
  async run(context) {
    const refusal = new RefusalCase(context, await ensureBaseDisk());
    const reference = await referenceFiles(path.join(context.folder, 'reference'));
    const parity = new Parity(refusal, [...reference, await lesserKernel(context.folder)]);
    await parity.compare('usual', USUAL);
    const beside = `${refusal.base.deployment}/.usr-ovl`;
    for (const name of ['upper', 'work']) refusal.disk.makeDirectory(`${beside}-${name}`);
    refusal.disk.replace(`${beside}-upper/added`, Buffer.from('hotfix\n'), { verity: false });
    await parity.compare('hotfix', HOTFIX);
    refusal.restore();
    refusal.disk.flipBit(refusal.imagePath, 1024);
    await parity.refusesFlippedBit();
  },
} satisfies VmCase;

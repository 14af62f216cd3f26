/**
 * ostree-prepare-root and ours by turns over one disk, in one guest: each run in a mount namespace of its own with a /run
 * of its own, and what it came to, in the words of parity-outcome.ts.
 */
import { strict as assert } from 'node:assert';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { REFERENCE_PATH, referenceFiles } from '../test/bench/reference.ts';
import { runHere } from '../tools/chroots.ts';
import { type CpioEntry, directory, file } from './cpio.ts';
import { fastBoot, KEY_PATH, POLICY_PATH, PREPARE_ROOT_PATH } from './fast-boot.ts';
import type { Kernel } from './kernel-modules.ts';
import { captured, requireDone } from './outcome.ts';
import { comparable, OBSERVE, type Outcome, parseOutcome } from './parity-outcome.ts';
import { FAST_BOOT_SECONDS, type RefusalCase } from './refusal.ts';

export type Program = 'reference' | 'sealroot';

/** One boot, tried by some programs: what differs from the deployment of the disk and the key that it was sealed with. */
export interface Turn {
  readonly name: string;
  readonly policy: string;
  /** What the kernel lacks, as letters of test/oracles/lesser-kernel.c. */
  readonly lacks?: string;
  /** The key file; null: there is none. */
  readonly keys?: string | null;
  /** Behind the disk's own kernel arguments. */
  readonly arguments?: string;
  /** Detached metadata of the disk's commit; null: none. */
  readonly commitmeta?: Uint8Array | null;
  /** Where `ostree=` leads, absolute on the root file system. */
  readonly deployment?: string;
  /** Who tries it; both unless said otherwise. */
  readonly by?: Program;
}

/** Parts of a policy. */
export const READONLY = '[sysroot]\nreadonly=true\n';
export const ETC = '[etc]\ntransient=true\n';
export const ROOT = '[root]\ntransient=true\n';
export const ROOT_READONLY = '[root]\ntransient-ro=true\n';

/** The policy with that mode, and more of such parts. */
export function policyOf(enabled: string, more = ''): string {
  return `[composefs]\nenabled=${enabled}\n${more}`;
}

const LESSER_KERNEL = 'bin/lesser-kernel';
const REFERENCE_POLICY = 'usr/lib/ostree/prepare-root.conf';
const COMMANDS: Record<Program, string> = { reference: REFERENCE_PATH, sealroot: `/${PREPARE_ROOT_PATH}` };
const PROGRAMS: readonly Program[] = ['reference', 'sealroot'];

/** Sourced by the fast boot's /init before it would mount the disk. */
const SCRIPT = (metadata: string, link: string) => `
mount -t ext4 -o rw /dev/vda2 /sysroot || finish 1 'mount of /dev/vda2 failed'
cat >/observe <<'END'
mount -t tmpfs -o mode=0755 run /run
mount --bind "$1/cmdline" /proc/cmdline
$2 /sysroot >/said 2>&1
status=$?; root=; said=/said; deployment=$(cat "$1/deployment"); files='etc/hostname usr/lib/os-release usr/added'
${OBSERVE}
END
for turn in /turns/*; do
    for policy in /${POLICY_PATH} /${REFERENCE_POLICY}; do cp "$turn/policy" "$policy"; done
    rm -f /${KEY_PATH} '/sysroot${metadata}'
    [ ! -e "$turn/keys" ] || cp "$turn/keys" /${KEY_PATH}
    [ ! -e "$turn/commitmeta" ] || cp "$turn/commitmeta" '/sysroot${metadata}'
    ln -sfn "$(cat "$turn/link")" '/sysroot${link}'
    while read -r program command; do
        capture "$program-\${turn##*/}" unshare -m sh /observe "$turn" "$command"
    done <"$turn/programs"
done
`;

/** Everything that the guest brings besides the fast boot's own. */
export async function parityPrograms(folder: string, reference: { ed25519: boolean }): Promise<CpioEntry[]> {
  const program = path.join(folder, 'lesser-kernel');
  const source = path.join(import.meta.dirname, '../test/oracles/lesser-kernel.c');
  const flags = ['-std=gnu11', '-O1', '-Wall', '-Wextra', '-Werror', '-static', '-s'];
  await runHere(['musl-gcc', ...flags, '-o', program, source]);
  const files = await referenceFiles(path.join(folder, 'reference'), reference);
  return [...files, file(LESSER_KERNEL, await readFile(program), 0o755)];
}

export type Outcomes = (program: Program, turn: Turn) => Outcome;

/** All turns in one guest, in their order; the disk's changes by them are lost with it. */
export async function takeTurns(
  stage: RefusalCase,
  name: string,
  programs: readonly CpioEntry[],
  turns: readonly Turn[],
  kernel: Kernel = stage.base.kernel,
): Promise<Outcomes> {
  const { base, context, disk } = stage;
  const key = await readFile(base.keys.publicKey, 'utf8');
  const commitmeta = disk.read(stage.commitMetaPath);
  const link = disk.readLink(stage.bootLink);
  const deploymentOf = ({ deployment = base.deployment }: Turn) => deployment;
  const folders = turns.flatMap((turn, index) => {
    const { policy, lacks, keys = key, arguments: more = '', by } = turn;
    const folder = `turns/${folderOf(turn, index)}`;
    const lesser = lacks === undefined ? '' : `/${LESSER_KERNEL} ${lacks} `;
    const tried = PROGRAMS.filter((program) => by === undefined || by === program);
    const deployment = path.posix.basename(deploymentOf(turn));
    const entries = [
      directory(folder),
      file(`${folder}/policy`, policy),
      file(`${folder}/cmdline`, `${base.kernelArguments} ${more}\n`),
      file(`${folder}/link`, link.replace(path.posix.basename(base.deployment), deployment)),
      file(`${folder}/deployment`, deploymentOf(turn).slice(1)),
      file(
        `${folder}/programs`,
        tried.map((program) => `${program} ${lesser}${COMMANDS[program]}\n`).join(''),
      ),
    ];
    if (keys !== null) entries.push(file(`${folder}/keys`, keys));
    if (turn.commitmeta !== null) entries.push(file(`${folder}/commitmeta`, turn.commitmeta ?? commitmeta));
    return entries;
  });
  const files = {
    prepareRoot: base.prepareRoot,
    policy: '',
    beforeRoot: SCRIPT(stage.commitMetaPath, stage.bootLink),
    extra: [...programs, file(REFERENCE_POLICY, ''), directory('turns'), ...folders],
  };
  const initramfs = path.join(context.folder, `${name}.cpio`);
  const boot = await fastBoot(kernel, files, base.kernelArguments, initramfs);
  const disks = [{ file: disk.image, format: 'raw', writes: 'discard' }] as const;
  const machine = await context.start({ name, boot, disks, memoryMiB: 512 });
  await machine.waitForEnd(FAST_BOOT_SECONDS);
  requireDone(machine);
  return (program, turn) => {
    const event = `${program}-${folderOf(turn, turns.indexOf(turn))}`;
    return parseOutcome(captured(machine, event).output, '', deploymentOf(turn).slice(1));
  };
}

/** Sorts as the turns do. */
function folderOf({ name }: Turn, index: number): string {
  return `${String(index).padStart(3, '0')}-${name}`;
}

/** Both booted, to the same mounts, the same word to the booted system and the same access. */
export function requireAlike(reference: Outcome, ours: Outcome): void {
  assert.equal(reference.status, 0, reference.said);
  assert.equal(ours.status, 0, ours.said);
  assert.deepEqual(comparable(withoutBoot(ours)), comparable(reference));
}

/** Neither booted, and of ours nothing is left; the reference leaves what it had mounted by then. */
export function requireRefusedAlike(reference: Outcome, ours: Outcome, code: string, why: RegExp): void {
  assert.equal(reference.status, 1, reference.said);
  assert.match(reference.said, why);
  requireRefusal(ours, code);
}

export function requireRefusal({ status, said, mounts, record }: Outcome, code: string): void {
  assert.deepEqual([status, mounts.length, record], [1, 1, ''], said);
  const codes = [...said.matchAll(/^sealroot-prepare-root: error: ([\w-]+): /gm)].map(([, found]) => found);
  assert.deepEqual(codes, [code], said);
}

/** Ours mounts /boot, too, which the reference leaves to its generator. */
function withoutBoot({ mounts, ...rest }: Outcome): Outcome {
  const boot = mounts.filter((line) => line.startsWith('/sysroot/boot on /sysroot '));
  assert.equal(boot.length, 1, mounts.join('\n'));
  return { ...rest, mounts: mounts.filter((line) => line !== boot[0]) };
}

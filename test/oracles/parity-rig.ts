/**
 * ostree-prepare-root and ours over the same disk on this machine's kernel, by turns, each in a mount namespace of its own
 * and chrooted into the same initramfs: what they say by their exit status, the mounts they leave, what they tell the
 * booted system, and what can be read and written there.
 */

import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseDump } from '../../src/formats/dump-read.ts';
import { utf8 } from '../../src/formats/encoding.ts';
import { writeImage } from '../../src/formats/erofs-write.ts';
import { OBSERVE, type Outcome, parseOutcome } from '../../vm-tests/parity-outcome.ts';
import { REFERENCE_PATH, referenceFiles } from '../bench/reference.ts';
import { put } from './prepare-root-rig.ts';

export type Program = 'sealroot' | 'reference';
const PROGRAMS: Record<Program, string> = { sealroot: '/sealroot-prepare-root', reference: REFERENCE_PATH };

/** Of this process alone: loop devices are everybody's, and are told apart by the names of their files. */
export const CHECKSUM = randomBytes(32).toString('hex');
const DEPLOYMENT = `ostree/deploy/os/deploy/${CHECKSUM}.0`;
export const OSTREE_ARGUMENT = 'ostree=/ostree/boot.1/os/0/0';

export type Disturbance = (disk: { root: string; deployment: string }) => void;

/** One boot: what differs from a deployment with an image on a writable disk. */
export interface Scenario {
  readonly conf: string;
  readonly cmdline?: string;
  readonly image?: false;
  /** The options of the physical root as the initramfs mounted it; writable unless said otherwise. */
  readonly disk?: string;
  /** Of all mounts that the program finds: systemd shares them. */
  readonly propagation?: 'shared';
  /** Changes the disk before each run. `root` is the physical root, `deployment` a folder in it. */
  readonly disturb?: Disturbance;
  /** Files that stand in /run before. */
  readonly run?: readonly string[];
  /** What the kernel lacks, as letters of lesser-kernel.c. */
  readonly lacks?: string;
}

const TREE = `/ 4096 40755 7 0 0 0 0.0 - - -
/boot 4096 40755 2 0 0 0 0.0 - - -
/etc 4096 40755 2 0 0 0 0.0 - - -
/sysroot 4096 40755 2 0 0 0 0.0 - - -
/usr 4096 40755 3 0 0 0 0.0 - - -
/usr/etc 4096 40755 2 0 0 0 0.0 - - -
/usr/etc/conf 8 100644 1 0 0 0 0.0 - default\\n -
/usr/tool 5 100644 1 0 0 0 0.0 ab/cdef.file - -
/var 4096 40755 2 0 0 0 0.0 - - -
`;

const SCRIPT = `
root=$1; program=$2; mode=$3; wrapper=$4; marks=$5; propagation=$6
mount --bind "$root" "$root"
mount -t tmpfs -o mode=0755 run "$root/run"
for mark in $marks; do mkdir -p "$root/run/\${mark%/*}"; : >"$root/run/$mark"; done
mount --bind "$root/sysroot" "$root/sysroot"
mount -o "remount,bind,$mode" "$root/sysroot"
mount -t proc proc "$root/proc"
mount --bind "$root/cmdline" "$root/proc/cmdline"
mount "--make-r$propagation" "$root"
$wrapper chroot "$root" "$program" /sysroot >"$root/said" 2>&1
status=$?; said=$root/said; deployment=${DEPLOYMENT}; files='etc/conf usr/tool usr/added'
${OBSERVE}`;

/** Made once: the reference with its libraries, as an initramfs would hold them. */
export async function makeInitramfs(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'sealroot-parity-'));
  await referenceFiles(folder);
  return folder;
}

/** Compiles lesser-kernel.c. */
export function makeLesserKernel(folder: string): string {
  const program = join(folder, 'lesser-kernel');
  const flags = ['-std=gnu11', '-O1', '-Wall', '-Wextra', '-Werror'];
  execFileSync('gcc', [...flags, '-o', program, join(import.meta.dirname, 'lesser-kernel.c')]);
  return program;
}

export class ParityRig {
  readonly folder = mkdtempSync(join(tmpdir(), 'sealroot-parity-'));
  readonly #scenario: Scenario;

  constructor(initramfs: string, binary: string, scenario: Scenario) {
    this.#scenario = scenario;
    const { folder } = this;
    execFileSync('cp', ['-al', `${initramfs}/.`, folder]);
    copyFileSync(binary, join(folder, 'sealroot-prepare-root'));
    chmodSync(join(folder, 'sealroot-prepare-root'), 0o755);
    for (const name of ['proc', 'run', 'dev']) mkdirSync(join(folder, name));
    execFileSync('mknod', ['-m', '600', join(folder, 'dev/loop-control'), 'c', '10', '237']);
    for (const at of [0, 1, 2, 3, 4, 5, 6, 7]) {
      execFileSync('mknod', ['-m', '600', join(folder, `dev/loop${at}`), 'b', '7', `${at}`]);
    }
    put(join(folder, 'cmdline'), `${scenario.cmdline ?? OSTREE_ARGUMENT}\n`);
    for (const of of ['ostree', 'sealroot']) {
      put(join(folder, `usr/lib/${of}/prepare-root.conf`), scenario.conf);
    }
    const root = join(folder, 'sysroot');
    const deployment = join(root, DEPLOYMENT);
    makeDisk(root, deployment);
    if (scenario.image === false) rmSync(join(deployment, '.ostree.cfs'));
  }

  run(program: Program, lacks = this.#scenario.lacks): Outcome {
    const { folder } = this;
    const { disk = 'rw', propagation = 'private', run = [], disturb } = this.#scenario;
    const root = join(folder, 'sysroot');
    disturb?.({ root, deployment: join(root, DEPLOYMENT) });
    const wrapper = lacks === undefined ? '' : `${makeLesserKernel(folder)} ${lacks}`;
    const words = [folder, PROGRAMS[program], disk, wrapper, run.join(' '), propagation];
    const args = ['sh', '-c', SCRIPT, 'sh', ...words];
    const output = execFileSync('unshare', ['--mount', '--propagation', 'private', ...args], {
      encoding: 'utf8',
      timeout: 60_000,
    });
    return parseOutcome(output, folder, DEPLOYMENT);
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function makeDisk(root: string, deployment: string): void {
  put(join(deployment, '.ostree.cfs'), writeImage(parseDump(utf8(TREE))));
  put(join(root, 'ostree/repo/objects/ab/cdef.file'), 'tool\n');
  put(join(root, 'ostree/repo/config'), '[core]\nrepo_version=1\nmode=bare\n');
  put(join(deployment, 'etc/conf'), 'changed\n');
  put(join(deployment, 'usr/etc/conf'), 'default\n');
  put(join(deployment, 'usr/tool'), 'tool\n');
  for (const name of ['boot', 'sysroot', 'var']) mkdirSync(join(deployment, name));
  mkdirSync(join(root, 'ostree/deploy/os/var'));
  mkdirSync(join(root, 'boot'));
  mkdirSync(join(root, 'ostree/boot.1.1/os/0'), { recursive: true });
  symlinkSync('boot.1.1', join(root, 'ostree/boot.1'));
  symlinkSync(`../../../deploy/os/deploy/${CHECKSUM}.0`, join(root, 'ostree/boot.1.1/os/0/0'));
}

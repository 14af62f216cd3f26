/**
 * ostree-prepare-root and ours over the same disk on this machine's kernel, by turns, each in a mount namespace of its own
 * and chrooted into the same initramfs: what they say by their exit status, the mounts they leave, what they tell the
 * booted system, and what can be read and written there.
 */

import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseDump } from '../../src/formats/dump-read.ts';
import { toByteString, utf8 } from '../../src/formats/encoding.ts';
import { writeImage } from '../../src/formats/erofs-write.ts';
import { validateTree } from '../../src/formats/tree.ts';
import { REFERENCE_PATH, referenceFiles } from '../bench/reference.ts';
import { put } from './prepare-root-rig.ts';

export type Program = 'sealroot' | 'reference';
const PROGRAMS: Record<Program, string> = { sealroot: '/sealroot-prepare-root', reference: REFERENCE_PATH };

const CHECKSUM = 'c0'.repeat(32);
const DEPLOYMENT = `ostree/deploy/os/deploy/${CHECKSUM}.0`;
export const OSTREE_ARGUMENT = 'ostree=/ostree/boot.1/os/0/0';

export type Disturbance = (disk: { root: string; deployment: string }) => void;

/** One boot: what differs from a deployment with an image on a writable disk. */
export interface Scenario {
  readonly conf: string;
  readonly cmdline?: string;
  readonly image?: false;
  /** The physical root as the initramfs mounted it. */
  readonly disk?: 'ro';
  /** Changes the disk before each run. `root` is the physical root, `deployment` a folder in it. */
  readonly disturb?: Disturbance;
  /** Files that stand in /run before. */
  readonly run?: readonly string[];
  /** What the kernel lacks, as letters of lesser-kernel.c. */
  readonly lacks?: string;
}

export interface Outcome {
  readonly status: number;
  readonly stderr: string;
  /** One line a mount: its place, then parent, root, options, propagation, type, source and super options. */
  readonly mounts: string[];
  /** /run/ostree-booted, Latin-1. */
  readonly record: string;
  /** `type mode path -> target` of what is in /run, without what is in the places of transient files. */
  readonly run: string[];
  /** Of loop devices for images: whether they are read-only, autoclear and direct, and their block size. */
  readonly loops: string[];
  /** `path=content`, and `path writable` or not. */
  readonly access: string[];
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
root=$1; program=$2; mode=$3; wrapper=$4; marks=$5
mount --bind "$root" "$root"
mount -t tmpfs -o mode=0755 run "$root/run"
for mark in $marks; do mkdir -p "$root/run/\${mark%/*}"; : >"$root/run/$mark"; done
mount --bind "$root/sysroot" "$root/sysroot"
mount -o "remount,bind,$mode" "$root/sysroot"
mount -t proc proc "$root/proc"
mount --bind "$root/cmdline" "$root/proc/cmdline"
$wrapper chroot "$root" "$program" /sysroot >"$root/said" 2>&1
status=$?
section() { echo "== $1"; }
section status; echo "$status"
section said; cat "$root/said"
section mounts; cat /proc/self/mountinfo
section record; base64 -w 0 "$root/run/ostree-booted" 2>/dev/null; echo
section run; cd "$root/run" && find . -path './ostree/transient-etc*/*' -prune -o -path './ostree/.private/root/*/*' -prune -o -printf '%y %m %P %l\\n'
section loops
for device in /sys/block/loop*; do
    # Below the mount that the program has detached, so not where the rig is.
    grep -q '/${DEPLOYMENT}/[.]ostree[.]cfs' "$device/loop/backing_file" 2>/dev/null || continue
    echo "$(cat "$device/ro" "$device/loop/autoclear" "$device/loop/dio" "$device/queue/logical_block_size" | tr '\n' ' ')"
done
section access
cd "$root/sysroot"
[ "$status" -eq 0 ] || exit 0
for file in etc/conf usr/tool usr/added; do [ ! -e $file ] || echo "$file=$(cat $file 2>&1)"; done
for folder in . etc usr var sysroot sysroot/ostree/deploy/os/var; do
    if mkdir "$folder/probe" 2>/dev/null; then rmdir "$folder/probe"; echo "$folder writable"; else echo "$folder read-only"; fi
done
`;

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

  run(program: Program): Outcome {
    const { folder } = this;
    const { disk = 'rw', run = [], lacks, disturb } = this.#scenario;
    const root = join(folder, 'sysroot');
    disturb?.({ root, deployment: join(root, DEPLOYMENT) });
    const wrapper = lacks === undefined ? '' : `${makeLesserKernel(folder)} ${lacks}`;
    const args = ['sh', '-c', SCRIPT, 'sh', folder, PROGRAMS[program], disk, wrapper, run.join(' ')];
    const output = execFileSync('unshare', ['--mount', '--propagation', 'private', ...args], {
      encoding: 'utf8',
      timeout: 60_000,
    });
    const sections = new Map(
      output
        .split(/^== /m)
        .slice(1)
        .map((text) => {
          const end = text.indexOf('\n');
          return [text.slice(0, end), text.slice(end + 1)];
        }),
    );
    const lines = (name: string) => (sections.get(name) ?? '').split('\n').filter((line) => line !== '');
    return {
      status: Number(sections.get('status')),
      stderr: sections.get('said') ?? '',
      mounts: mountsBelow(folder, lines('mounts')),
      record: withoutChance(Buffer.from(sections.get('record') ?? '', 'base64').toString('latin1')),
      run: lines('run').map(withoutChance).sort(),
      loops: lines('loops'),
      access: lines('access'),
    };
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function makeDisk(root: string, deployment: string): void {
  put(join(deployment, '.ostree.cfs'), writeImage(validateTree(parseDump(toByteString(utf8(TREE))))));
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

/** As lines of text that two runs have in common: no ids, no places of the rig, no names given by chance. */
function mountsBelow(folder: string, mountinfo: readonly string[]): string[] {
  const entries = mountinfo.map((line) => {
    const [left = '', right = ''] = line.split(' - ');
    const [id = '', parent = '', , root = '', place = '', options = '', ...tags] = left.split(' ');
    return { id, parent, root, place, options, tags, right };
  });
  const placeOf = new Map(entries.map(({ id, place }) => [id, place]));
  const own = (text: string) => text.replaceAll(folder, '').replace(/^$/, '/');
  return entries
    .filter(({ place }) => place.startsWith(`${folder}/`) && !/\/(proc|run)(\/cmdline)?$/.test(place))
    .map(({ parent, root, place, options, tags, right }) =>
      [
        own(place),
        `on ${own(placeOf.get(parent) ?? '')}`,
        own(root),
        options,
        tags.map((tag) => tag.replace(/:\d+/, '')).join(' '),
        withoutChance(right),
      ].join(' '),
    )
    .sort();
}

function withoutChance(text: string): string {
  return text
    .replaceAll(/transient-etc\.\w+/g, 'transient-etc.N')
    .replaceAll(/\/sysroot\.tmp|\/run\/ostree\/\.private\/new-root/g, 'NEW')
    .replaceAll(`/sysroot/${DEPLOYMENT}/.usr-ovl`, '.usr-ovl');
}

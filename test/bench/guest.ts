/**
 * sealroot-prepare-root (signature, fs-verity of the image, mounts) beside the reference's (no signature), both over
 * the same disk in the same guest, by turns, each run in a mount namespace of its own.
 *
 * Instructions: under QEMU's `-icount shift=0` the guest's clock advances one nanosecond an instruction, and with the
 * host's while the guest idles, which is subtracted. What else the kernel does meanwhile counts, so every run begins
 * when a known loop reads as its own length. The first run of a boot differs, so each program has a guest in which it
 * is first. Wall time comes from a guest without that clock.
 */
import { mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { type BaseDisk, ensureBaseDisk } from '../../vm-tests/base-disk.ts';
import { type CpioEntry, file } from '../../vm-tests/cpio.ts';
import { fastBoot, PREPARE_ROOT_PATH } from '../../vm-tests/fast-boot.ts';
import { startMachine } from '../../vm-tests/machine.ts';
import { captured, requireDone } from '../../vm-tests/outcome.ts';
import { FAST_BOOT_SECONDS, SEALED_POLICY } from '../../vm-tests/refusal.ts';
import { compared, count, kib, median, medianAndLeast, millions, milliseconds, type Row } from './figures.ts';
import { linesOf, type Run, residentKibOf, runsOf } from './measure.ts';
import { REFERENCE_PATH, referenceFiles } from './reference.ts';

/** With the first run of the boot. */
const RUNS = { instructions: 6, wall: 12 } as const;
const SETTLE_ATTEMPTS = 400;

type Program = 'sealroot' | 'reference';
const PROGRAMS: Record<Program, string> = { sealroot: `/${PREPARE_ROOT_PATH}`, reference: REFERENCE_PATH };
const other = (program: Program): Program => (program === 'sealroot' ? 'reference' : 'sealroot');

/** Mounts the disk, and defines `turn COMMAND LABEL PROGRAM`: a run that finds nothing of those before it. */
export function turns(settles: boolean): string {
  return `
mount -t ext4 -o rw /dev/vda2 /sysroot || finish 1 'mount of /dev/vda2 failed'
turn() {
    rm -rf /run/ostree /run/ostree-booted /run/sealroot /run/systemd
    ${settles ? `/bin/measure settle /run/figures settle ${SETTLE_ATTEMPTS}` : ':'}
    unshare -m /bin/measure "$1" /run/figures "$1-$2" "$3" /sysroot >>/run/said 2>&1
}`;
}

/** Sourced by the fast boot's /init before it would mount the disk. Output goes to a file: a serial port is slow. */
function guestScript(first: Program, runs: number, settles: boolean): string {
  const pair = (command: string) =>
    [first, other(first)].map((program) => `turn ${command} ${program} ${PROGRAMS[program]}`).join('\n');
  return `
${turns(settles)}
for run in $(seq ${runs}); do
${pair('run')}
done
${pair('resident')}
`;
}

interface GuestRun {
  readonly runs: Record<Program, Run[]>;
  readonly residentKib: Record<Program, number>;
  /** Of the known loop: what it read before each run, in instructions, and how long it is. */
  readonly loop: { readonly read: number[]; readonly length: number } | undefined;
}

export interface GuestOptions {
  readonly name: string;
  readonly folder: string;
  readonly base: BaseDisk;
  /** In the place of the base disk; never changed. */
  readonly image?: string;
  readonly policy: string;
  /** Sourced by /init; it appends to /run/figures, and lets programs speak to /run/said. */
  readonly script: string;
  readonly extra: readonly CpioEntry[];
  /** Whether the guest's clock counts instructions. */
  readonly counts: boolean;
}

/** What `read` makes of the figures of a guest. */
export async function measureInGuest<T>(options: GuestOptions, read: (figures: string) => T): Promise<T> {
  const { name, folder, base, counts, extra, policy } = options;
  const files = {
    prepareRoot: base.prepareRoot,
    policy,
    keys: await readFile(base.keys.publicKey, 'utf8'),
    beforeRoot: `${options.script}capture figures cat /run/figures\ncapture said cat /run/said\n`,
    extra,
  };
  const boot = await fastBoot(base.kernel, files, base.kernelArguments, path.join(folder, `${name}.cpio`));
  const machine = await startMachine({
    name,
    logFolder: folder,
    // The figures are those of emulation, also where KVM works.
    accelerator: 'tcg',
    boot,
    disks: [{ file: options.image ?? base.image, format: 'raw', writes: 'discard' }],
    memoryMiB: 512,
    extraArguments: counts ? ['-icount', 'shift=0'] : [],
  });
  await machine.waitForEnd(FAST_BOOT_SECONDS);
  requireDone(machine);
  try {
    return read(captured(machine, 'figures').output);
  } catch (error) {
    throw new Error(`${(error as Error).message}\nin the guest: ${captured(machine, 'said').output}`);
  }
}

class Bench {
  readonly folder: string;
  readonly base: BaseDisk;
  readonly extra: readonly CpioEntry[];

  constructor(folder: string, base: BaseDisk, extra: readonly CpioEntry[]) {
    this.folder = folder;
    this.base = base;
    this.extra = extra;
  }

  guest(name: string, first: Program, counts: boolean): Promise<GuestRun> {
    const runs = counts ? RUNS.instructions : RUNS.wall;
    const script = guestScript(first, runs, counts);
    return measureInGuest({ ...this, name, policy: SEALED_POLICY, script, counts }, (figures) => {
      const loops = counts ? linesOf(figures, 'settle') : [];
      return {
        runs: { sealroot: runsOf(figures, 'run-sealroot'), reference: runsOf(figures, 'run-reference') },
        residentKib: {
          sealroot: residentKibOf(figures, 'resident-sealroot'),
          reference: residentKibOf(figures, 'resident-reference'),
        },
        loop: counts ? { read: loops.map(([read = 0]) => read), length: loops[0]?.[1] ?? 0 } : undefined,
      };
    });
  }
}

type Pair = readonly [number[], number[]];

function both(runs: Record<Program, readonly Run[]>, value: (run: Run) => number): Pair {
  return [runs.sealroot.map(value), runs.reference.map(value)];
}

/** The clock advances while nothing runs, too. */
export const instructions = (run: Run): number => run.nanoseconds - run.idleNanoseconds;

function instructionRows(own: GuestRun, theirs: GuestRun): Row[] {
  const warm = { sealroot: own.runs.sealroot.slice(1), reference: own.runs.reference.slice(1) };
  // Each in the boot whose first it was.
  const first = { sealroot: own.runs.sealroot.slice(0, 1), reference: theirs.runs.reference.slice(0, 1) };
  const { read, length } = own.loop ?? { read: [Number.NaN], length: Number.NaN };
  const row = (what: string, runs: typeof warm, value: (run: Run) => number, format: typeof count) => {
    const [sealroot, reference] = both(runs, value);
    return compared(what, [median(sealroot), median(reference)], format);
  };
  const inProcess = (run: Run) => run.cpuMicroseconds * 1000;
  return [
    ...medianAndLeast('instructions, fork to exit', both(warm, instructions), millions, '60 M'),
    row('... those of the process itself', warm, inProcess, millions),
    row('instructions, first run of a boot', first, instructions, millions),
    row('... those of the process itself', first, inProcess, millions),
    row('times it waited, first run of a boot', first, (run) => run.waits, count),
    row('times it waited', warm, (run) => run.waits, count),
    row('page faults', warm, (run) => run.pageFaults, count),
    row('peak memory (ru_maxrss)', warm, (run) => run.peakKib, kib),
    compared(
      'resident at exit',
      [own.residentKib.sealroot, own.residentKib.reference],
      kib,
      '977 KiB + commit',
    ),
    {
      what: `the clock: a loop of ${count(length)} instructions reads`,
      sealroot: `${count(Math.min(...read))} to ${count(Math.max(...read))}`,
    },
  ];
}

/** `scratch` is an existing folder, `measure` the program of measure.ts. */
export async function guestRows(scratch: string, measure: string): Promise<Row[]> {
  const folder = path.join(scratch, 'guest');
  await mkdir(folder);
  const reference = await referenceFiles(path.join(folder, 'reference'));
  const extra = [...reference, file('bin/measure', await readFile(measure), 0o755)];
  const bench = new Bench(folder, await ensureBaseDisk(), extra);
  const own = await bench.guest('instructions-sealroot-first', 'sealroot', true);
  const theirs = await bench.guest('instructions-reference-first', 'reference', true);
  const wall = await bench.guest('wall', 'sealroot', false);
  const warm = { sealroot: wall.runs.sealroot.slice(1), reference: wall.runs.reference.slice(1) };
  return [
    ...instructionRows(own, theirs),
    ...medianAndLeast(
      'wall time, emulated',
      both(warm, (run) => run.nanoseconds / 1e6),
      milliseconds,
    ),
  ];
}

/**
 * The time of our unit in whole boots beside that of forky's ostree-prepare-root.service, by turns: dracut's initramfs
 * with systemd, the same disk behind it, the whole system until it is up. Both images are made in one tree, so that they
 * differ in the module that brings the unit and in nothing else. The reference checks no signature (reference.ts).
 *
 * The guest's clock is QEMU's `-icount shift=0`: a nanosecond an instruction, of whatever runs meanwhile, and the host's
 * time while the guest waits for its disk. So a busy host hardly shows.
 */
import { copyFile, mkdir, rename } from 'node:fs/promises';
import path from 'node:path';
import { progress } from '../../tools/cache.ts';
import { type BaseDisk, ensureBaseDisk } from '../../vm-tests/base-disk.ts';
import { type CpioEntry, directory, file, symlink } from '../../vm-tests/cpio.ts';
import { buildInitramfs, installSealedBoot, TREE_PATHS } from '../../vm-tests/initramfs.ts';
import { type MachineOptions, startMachine } from '../../vm-tests/machine.ts';
import { ensureTrixie } from '../../vm-tests/os-tree.ts';
import { captured, requireDone, SEALED_MOUNT } from '../../vm-tests/outcome.ts';
import { PROVE_ROOT } from '../../vm-tests/refusal.ts';
import { SYSTEM_BOOT_SECONDS, startSystem } from '../../vm-tests/system-boot.ts';
import { withLayer } from '../../vm-tests/tree-layer.ts';
import { compared, median, medianAndLeast, milliseconds, type Row } from './figures.ts';
import { installReference } from './reference.ts';
import { UNIT_TIME_PROPERTIES, type UnitTime, unitTimeOf } from './unit-time.ts';

const RUNS = 5;
const RATIO_LIMIT = '1.00';

const UNITS = {
  sealroot: 'sealroot-prepare-root.service',
  reference: 'ostree-prepare-root.service',
} as const;
type Program = keyof typeof UNITS;
const PROGRAMS = Object.keys(UNITS) as Program[];

/** Without SYSTEM_ARGUMENTS' copy of the journal on the console: a serial port is slow, and each says something else. */
const ARGUMENTS = ['rd.shell=0', 'rd.emergency=poweroff'];

const SHOWN = '/run/unit-time';

/** systemd forgets the initramfs's units when the root is switched, so it is asked before, when the unit is over. */
function asking(unit: string): CpioEntry[] {
  const properties = UNIT_TIME_PROPERTIES.join(',');
  const service = `[Unit]
DefaultDependencies=no
After=initrd-root-fs.target
Before=initrd-parse-etc.service
[Service]
Type=oneshot
StandardOutput=file:${SHOWN}
ExecStart=/usr/bin/systemctl show --property=${properties} ${unit}
`;
  const wants = 'etc/systemd/system/initrd.target.wants';
  return [
    file('etc/systemd/system/unit-time.service', service),
    directory(wants),
    symlink(`${wants}/unit-time.service`, '../unit-time.service'),
  ];
}

const SCRIPT = `${PROVE_ROOT}
capture shown cat ${SHOWN}
capture booted cat /run/sealroot/booted.json
exit 0
`;

/** Makes both images in `folder`, which holds nothing else. */
async function buildBoth(folder: string, { prepareRoot, keys, kernel }: BaseDisk): Promise<void> {
  await withLayer(await ensureTrixie(), async (tree) => {
    await installReference(tree, path.join(folder, 'reference'));
    await installSealedBoot(tree, { prepareRoot, publicKey: keys.publicKey });
    const build = async (program: Program, options: { add?: string[]; omit?: string[] }): Promise<void> => {
      const output = `/tmp/${program}.img`;
      const drivers = ['erofs', 'overlay', 'loop'];
      await buildInitramfs(tree, { kernelVersion: kernel.version, output, drivers, ...options });
      await copyFile(path.join(tree, output), path.join(folder, `${program}.img`));
    };
    await build('sealroot', {});
    // Our configuration file would leave ostree's module out.
    const configuration = path.join(tree, TREE_PATHS.dracutConfiguration);
    await rename(configuration, `${configuration}.off`);
    await build('reference', { add: ['ostree'], omit: ['overlayfs', 'overlay-root'] });
  });
}

interface Boot {
  readonly time: UnitTime;
  /** What sealroot says of itself. */
  readonly phases: Readonly<Record<string, number>>;
}

async function boot(folder: string, base: BaseDisk, program: Program, run: number): Promise<Boot> {
  const start = (options: Omit<MachineOptions, 'logFolder' | 'accelerator'>) =>
    startMachine({
      ...options,
      logFolder: folder,
      accelerator: 'tcg',
      extraArguments: ['-icount', 'shift=0'],
    });
  const system = { kernel: base.kernel, initramfs: path.join(folder, `${program}.img`) };
  const machine = await startSystem({ folder, start }, system, {
    name: `${program}-${run}`,
    disk: { file: base.image, format: 'raw', writes: 'discard' },
    commandLine: [base.kernelArguments, ...ARGUMENTS].join(' '),
    script: SCRIPT,
    initramfsFiles: asking(UNITS[program]),
  });
  await machine.waitForEnd(SYSTEM_BOOT_SECONDS);
  requireDone(machine);
  const root = captured(machine, 'root').output;
  if (!SEALED_MOUNT.test(root)) throw new Error(`cannot compare ${program}: its root is ${root}`);
  const time = unitTimeOf(captured(machine, 'shown').output, UNITS[program]);
  if (program !== 'sealroot') return { time, phases: {} };
  const booted = JSON.parse(captured(machine, 'booted').output) as { microseconds: Record<string, number> };
  return { time, phases: booted.microseconds };
}

const lasted = ({ time }: Boot): number => (time.active - time.begun) / 1000;

/** `scratch` is an existing folder. */
export async function bootRows(scratch: string): Promise<Row[]> {
  const folder = path.join(scratch, 'boot');
  await mkdir(folder);
  const base = await ensureBaseDisk();
  await buildBoth(folder, base);
  const boots: Record<Program, Boot[]> = { sealroot: [], reference: [] };
  for (let run = 0; run < RUNS; run++) {
    for (const program of PROGRAMS) {
      const done = await boot(folder, base, program, run);
      boots[program].push(done);
      progress(`boot ${run + 1} of ${RUNS}: ${UNITS[program]} took ${milliseconds(lasted(done))}`);
    }
  }
  const both = (value: (boot: Boot) => number) =>
    [boots.sealroot.map(value), boots.reference.map(value)] as const;
  const [own, theirs] = both(({ time }) => time.active / 1000);
  const phases = Object.keys(boots.sealroot[0]?.phases ?? {}).map((name) => {
    const values = boots.sealroot.map((boot) => (boot.phases[name] ?? Number.NaN) / 1000);
    return { what: `... of that, ${name}`, sealroot: milliseconds(median(values)) };
  });
  return [
    ...medianAndLeast("the unit's time", both(lasted), milliseconds, RATIO_LIMIT),
    ...phases,
    compared('from the start of the kernel until it is over', [median(own), median(theirs)], milliseconds),
  ];
}

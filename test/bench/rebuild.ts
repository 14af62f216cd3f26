/**
 * What it costs to build the image again at boot (rebuild-image=yes), in a guest whose disk has none: first with nothing of
 * the disk in the guest's caches, then with directories and inodes there. The reference has no such thing.
 */
import { mkdir, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { type BaseDisk, ensureBaseDisk } from '../../vm-tests/base-disk.ts';
import { file } from '../../vm-tests/cpio.ts';
import { PREPARE_ROOT_PATH } from '../../vm-tests/fast-boot.ts';
import { SEALED_POLICY } from '../../vm-tests/refusal.ts';
import { copyDisk, Ext4Image } from '../../vm-tests/tamper.ts';
import { count, kib, median, millions, type Row, seconds } from './figures.ts';
import { instructions, measureInGuest, turns } from './guest.ts';
import { linesOf, type Run, runsOf } from './measure.ts';

const REBUILDING_POLICY = `${SEALED_POLICY}[sealroot]\nrebuild-image=yes\n`;

const WARM_RUNS = 5;

const script = (settles: boolean) => `${turns(settles)}
turn run cold /${PREPARE_ROOT_PATH}
for run in $(seq ${WARM_RUNS}); do turn run warm /${PREPARE_ROOT_PATH}; done
echo files $(find /sysroot/ostree/repo/objects -name '*.file' | wc -l) >>/run/figures
`;

interface Rebuilt {
  readonly cold: Run;
  readonly warm: readonly Run[];
  /** File objects of the repository: the commit's files, each content counted once. */
  readonly files: number;
}

async function withoutImage(base: BaseDisk, image: string): Promise<void> {
  copyDisk(base.image, image);
  new Ext4Image(image, base.rootOffset).remove(`${base.deployment}/.ostree.cfs`);
}

/** `scratch` is an existing folder, `measure` the program of measure.ts. */
export async function rebuildRows(scratch: string, measure: string): Promise<Row[]> {
  const folder = path.join(scratch, 'rebuild');
  const image = path.join(folder, 'disk.raw');
  await mkdir(folder);
  const base = await ensureBaseDisk();
  await withoutImage(base, image);
  const extra = [file('bin/measure', await readFile(measure), 0o755)];
  const policy = REBUILDING_POLICY;
  const run = (name: string, counts: boolean) =>
    measureInGuest(
      { name, folder, base, image, policy, script: script(counts), extra, counts },
      (figures): Rebuilt => ({
        cold: runsOf(figures, 'run-cold')[0] as Run,
        warm: runsOf(figures, 'run-warm'),
        files: linesOf(figures, 'files')[0]?.[0] ?? Number.NaN,
      }),
    );
  const counted = await run('rebuild-instructions', true);
  const timed = await run('rebuild-wall', false);
  await rm(image);
  const wall = (one: Run) => one.nanoseconds / 1e9;
  const warm = (value: (one: Run) => number, of: Rebuilt) => median(of.warm.map(value));
  return [
    { what: 'file objects', sealroot: count(counted.files) },
    { what: 'instructions, cold cache', sealroot: millions(instructions(counted.cold)) },
    { what: 'instructions, warm cache', sealroot: millions(warm(instructions, counted)) },
    { what: 'wall time, emulated, cold cache', sealroot: seconds(wall(timed.cold)) },
    {
      what: `wall time, emulated, warm cache, median of ${WARM_RUNS}`,
      sealroot: seconds(warm(wall, timed)),
      limit: '2 s for 5,000 files',
    },
    { what: '... least', sealroot: seconds(Math.min(...timed.warm.map(wall))) },
    { what: 'peak memory (ru_maxrss)', sealroot: kib(warm((one) => one.peakKib, counted)) },
  ];
}

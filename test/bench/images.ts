/**
 * The build side: an image from a commit beside `ostree checkout --composefs`, an image from a dump beside
 * `mkcomposefs --from-file` (both Debian forky's), and a whole disk. Whole processes, by turns, with a warm page
 * cache; ours include the start of Node.js, which is shown by itself.
 */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { build } from 'esbuild';
import { bundleProgram } from '../../tools/bundle.ts';
import { ensureForky, runHere, runIn } from '../../tools/chroots.ts';
import { type BaseDisk, ensureBaseDisk, OS_NAME, OS_REF } from '../../vm-tests/base-disk.ts';
import { count, median, medianAndLeast, type Row, seconds } from './figures.ts';
import { type Run, runsOf } from './measure.ts';

const RUNS = 7;
const DISK_RUNS = 3;

/** Paths are shown to the reference at these places of its chroot. */
const REFERENCE_REPO = '/srv';
const REFERENCE_FOLDER = '/mnt';

class Build {
  readonly folder: string;
  readonly base: BaseDisk;
  readonly forky: string;
  readonly program: string;

  constructor(folder: string, base: BaseDisk, forky: string) {
    this.folder = folder;
    this.base = base;
    this.forky = forky;
    this.program = path.join(folder, 'sealroot.js');
  }

  async ours(label: string, argv: readonly string[]): Promise<void> {
    const measure = path.join(this.folder, 'measure');
    await runHere([measure, 'run', path.join(this.folder, 'figures'), label, process.execPath, ...argv]);
  }

  async theirs(label: string, argv: readonly string[]): Promise<void> {
    const measure = `${REFERENCE_FOLDER}/measure`;
    await runIn(this.forky, [measure, 'run', `${REFERENCE_FOLDER}/figures`, label, ...argv], {
      binds: [
        [this.base.repo, REFERENCE_REPO],
        [this.folder, REFERENCE_FOLDER],
      ],
      cwd: REFERENCE_FOLDER,
    });
  }

  /** Alternating, after one run of each that does not count. The two must have written the same bytes. */
  async compare(
    what: string,
    ours: (image: string) => readonly string[],
    theirs: (image: string) => readonly string[],
  ): Promise<Row[]> {
    // Spaces separate the fields of a measurement.
    const label = what.replaceAll(' ', '-');
    for (let run = 0; run <= RUNS; run++) {
      for (const image of ['ours.cfs', 'theirs.cfs'])
        await rm(path.join(this.folder, image), { force: true });
      await this.ours(run === 0 ? 'warm-up' : `ours-${label}`, ours(path.join(this.folder, 'ours.cfs')));
      await this.theirs(run === 0 ? 'warm-up' : `theirs-${label}`, theirs('theirs.cfs'));
    }
    const image = async (name: string) => await readFile(path.join(this.folder, name));
    if (!(await image('ours.cfs')).equals(await image('theirs.cfs'))) {
      throw new Error(`cannot compare ${what}: the two images differ`);
    }
    const results = await this.results();
    const [own, their] = [runsOf(results, `ours-${label}`), runsOf(results, `theirs-${label}`)];
    const both = (value: (run: Run) => number) => [own.map(value), their.map(value)] as const;
    return [
      ...medianAndLeast(
        `${what}: wall`,
        both((run) => run.nanoseconds / 1e9),
        seconds,
      ),
      ...medianAndLeast(
        `${what}: user+sys`,
        both((run) => run.cpuMicroseconds / 1e6),
        seconds,
      ),
    ];
  }

  async results(): Promise<string> {
    return await readFile(path.join(this.folder, 'figures'), 'utf8');
  }

  async start(): Promise<Row> {
    for (let run = 0; run < RUNS; run++) await this.ours('start', ['-e', '0']);
    const cpu = runsOf(await this.results(), 'start').map((run) => run.cpuMicroseconds / 1e6);
    return { what: `Node.js alone: user+sys, median of ${cpu.length}`, sealroot: seconds(median(cpu)) };
  }

  async disks(): Promise<Row[]> {
    const { base, folder } = this;
    const output = path.join(folder, 'disk.qcow2');
    const argv = [
      ...['disk', 'create', '--repo', base.repo, '--ref', OS_REF, '--os', OS_NAME],
      ...['--pubkey', base.keys.publicKey, '--output', output, '--format', 'qcow2', '--json'],
    ];
    const { stdout } = await runHere([process.execPath, this.program, ...argv]);
    const { sealedFiles } = JSON.parse(stdout.toString()) as { sealedFiles: number };
    for (let run = 0; run < DISK_RUNS; run++) {
      await rm(output);
      await this.ours('disk', [this.program, ...argv]);
    }
    await rm(output);
    const runs = runsOf(await this.results(), 'disk');
    const wall = runs.map((run) => run.nanoseconds / 1e9);
    const cpu = runs.map((run) => run.cpuMicroseconds / 1e6);
    const files = `${count(sealedFiles)} sealed files`;
    return [
      {
        what: `qcow2, ${files}: wall, median of ${wall.length}`,
        sealroot: seconds(median(wall)),
        limit: '4 s',
      },
      { what: `qcow2, ${files}: wall, least`, sealroot: seconds(Math.min(...wall)) },
      { what: `qcow2, ${files}: user+sys, median`, sealroot: seconds(median(cpu)) },
    ];
  }
}

async function prepare(scratch: string): Promise<Build> {
  const folder = path.join(scratch, 'images');
  await mkdir(folder);
  const bench = new Build(folder, await ensureBaseDisk(), await ensureForky());
  await bundleProgram(path.dirname(bench.program));
  await runHere(['cp', path.join(scratch, 'measure'), folder]);
  return bench;
}

/** `scratch` is an existing folder below the project, with the program of measure.ts in it. */
export async function buildSideRows(scratch: string): Promise<{ image: Row[]; disk: Row[] }> {
  const bench = await prepare(scratch);
  const { base, folder, program } = bench;
  const fromCommit = await bench.compare(
    'commit to image',
    (image) => [program, 'image', 'create', '--repo', base.repo, '--commit', base.commit, image],
    (image) => ['/usr/bin/ostree', `--repo=${REFERENCE_REPO}`, 'checkout', '--composefs', base.commit, image],
  );
  const dump = path.join(folder, 'tree.dump');
  const text = await runHere([process.execPath, program, 'image', 'dump', path.join(folder, 'ours.cfs')]);
  await writeFile(dump, text.stdout);
  const fromDumpProgram = path.join(folder, 'dump-to-image.mjs');
  await bundleDumpToImage(fromDumpProgram);
  const fromDump = await bench.compare(
    'dump to image',
    (image) => [fromDumpProgram, dump, image],
    (image) => ['/usr/bin/mkcomposefs', '--from-file', 'tree.dump', image],
  );
  return { image: [...fromCommit, ...fromDump, await bench.start()], disk: await bench.disks() };
}

async function bundleDumpToImage(outfile: string): Promise<void> {
  await build({
    entryPoints: [path.join(import.meta.dirname, 'dump-to-image.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20.19',
    logLevel: 'warning',
  });
}

/**
 * Images beside the C tools (Debian forky's ostree and composefs), on the bench tree: time and peak memory of whole
 * processes by turns, with a warm page cache. Both must have written the same bytes. Where a job has a limit, it is a
 * ratio: ours over theirs.
 */
import { cp, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { type Alternation, DATA } from './alternation.ts';
import { type BenchTree, ensureBenchTree } from './bench-tree.ts';
import { compared, kib, median, type Row, seconds } from './figures.ts';
import type { Run } from './measure.ts';

/** Counted, after one of each that is not. */
const RUNS = 15;
/** What Node.js itself takes, on top of twice the reference's peak. */
const NODE_KIB = 60 * 1024;

interface Job {
  readonly what: string;
  /** At most this times the reference's median wall time. */
  readonly limit: number;
  /** Arguments of sealroot; `output` is a file name in the working directory. */
  ours(tree: BenchTree, output: string): readonly string[];
  /** The same of the reference, with its data at DATA. */
  theirs(tree: BenchTree, output: string): readonly string[];
  /** Ours runs with a digest cache that is as it was after the first commit. */
  readonly cached?: true;
}

const OSTREE = ['/usr/bin/ostree', `--repo=${DATA}/repo`, 'checkout'];
const create = (commit: string) => ['image', 'create', '--repo', `${DATA}/repo`, '--commit', commit];

const JOBS: readonly Job[] = [
  {
    what: 'commit to image with digests',
    limit: 0.55,
    ours: (tree, output) => [...create(tree.commit), '--no-cache', output],
    theirs: (tree, output) => [...OSTREE, '--composefs', tree.commit, output],
  },
  {
    what: 'the same after a 1 % change, digests cached',
    limit: 0.2,
    ours: (tree, output) => [...create(tree.changed), output],
    theirs: (tree, output) => [...OSTREE, '--composefs', tree.changed, output],
    cached: true,
  },
  {
    what: 'commit to image without digests',
    limit: 0.75,
    ours: (tree, output) => [...create(tree.commit), '--no-digests', output],
    theirs: (tree, output) => [...OSTREE, '--composefs-noverity', tree.commit, output],
  },
  {
    what: 'directory to image with digests',
    limit: 0.9,
    ours: (_, output) => ['mkcomposefs', `${DATA}/tree`, output],
    theirs: (_, output) => ['/usr/bin/mkcomposefs', `${DATA}/tree`, output],
  },
  {
    what: 'dump to image',
    limit: 1.2,
    ours: (_, output) => ['mkcomposefs', '--from-file', `${DATA}/tree.dump`, output],
    theirs: (_, output) => ['/usr/bin/mkcomposefs', '--from-file', `${DATA}/tree.dump`, output],
  },
  {
    what: 'image to dump',
    limit: 1.2,
    ours: () => ['composefs-info', 'dump', 'tree.cfs'],
    theirs: () => ['/usr/bin/composefs-info', 'dump', 'tree.cfs'],
  },
];

/** A row of times and one of peak memory for each job. */
export async function imageRows(bench: Alternation): Promise<Row[]> {
  const tree = await ensureBenchTree();
  const { data } = tree;
  await bench.ours('prepare', ['mkcomposefs', `${DATA}/tree`, 'tree.cfs'], { data });
  const rows: Row[] = [];
  for (const job of JOBS) rows.push(...(await alternate(bench, tree, job)));
  return rows;
}

async function alternate(bench: Alternation, tree: BenchTree, job: Job): Promise<Row[]> {
  const { data } = tree;
  const file = (name: string) => path.join(bench.folder, name);
  // Spaces separate the fields of a measurement.
  const label = job.what.replaceAll(' ', '-');
  const env = { XDG_CACHE_HOME: file('cache') };
  if (job.cached) {
    await bench.ours('prepare', [...create(tree.commit), 'first.cfs'], { data, env });
    await cp(file('cache'), file('cache.first'), { recursive: true });
  }
  for (let run = 0; run <= RUNS; run++) {
    if (job.cached) {
      await rm(file('cache'), { recursive: true, force: true });
      await cp(file('cache.first'), file('cache'), { recursive: true });
    }
    for (const output of ['ours.cfs', 'theirs.cfs']) await rm(file(output), { force: true });
    await bench.ours(run === 0 ? 'warm-up' : `ours-${label}`, job.ours(tree, 'ours.cfs'), { data, env });
    await bench.theirs(run === 0 ? 'warm-up' : `theirs-${label}`, job.theirs(tree, 'theirs.cfs'), data);
  }
  await requireSameBytes(job, file('ours.cfs'), file('theirs.cfs'));
  const [ours, theirs] = [await bench.runs(`ours-${label}`), await bench.runs(`theirs-${label}`)];
  return [timeRow(job, ours, theirs), memoryRow(job, ours, theirs)];
}

/** A job that prints has no files; its output is compared in the tests. */
async function requireSameBytes({ what }: Job, ours: string, theirs: string): Promise<void> {
  const read = async (file: string) => await readFile(file).catch(() => undefined);
  const [mine, other] = [await read(ours), await read(theirs)];
  if (mine === undefined && other === undefined) return;
  if (mine !== undefined && other !== undefined && mine.equals(other)) return;
  throw new Error(`cannot compare ${what}: the two images differ`);
}

function timeRow({ what, limit }: Job, ours: readonly Run[], theirs: readonly Run[]): Row {
  const wall = (runs: readonly Run[]) => median(runs.map((run) => run.nanoseconds / 1e9));
  return compared(
    `${what}: wall, median of ${ours.length}`,
    [wall(ours), wall(theirs)],
    seconds,
    limit.toFixed(2),
  );
}

function memoryRow({ what }: Job, ours: readonly Run[], theirs: readonly Run[]): Row {
  const peak = (runs: readonly Run[]) => Math.max(...runs.map((run) => run.peakKib));
  const limit = kib(2 * peak(theirs) + NODE_KIB);
  return compared(`${what}: peak memory`, [peak(ours), peak(theirs)], kib, limit);
}

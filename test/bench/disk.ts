/** `sealroot disk create` of the base disk's commit: whole processes, as a person starts them. */
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { runHere } from '../../tools/chroots.ts';
import { ensureBaseDisk, OS_NAME, OS_REF } from '../../vm-tests/base-disk.ts';
import type { Alternation } from './alternation.ts';
import { count, median, type Row, seconds } from './figures.ts';

const RUNS = 7;

export async function diskRows(bench: Alternation): Promise<Row[]> {
  const base = await ensureBaseDisk();
  const output = path.join(bench.folder, 'disk.qcow2');
  const argv = [
    ...['disk', 'create', '--repo', base.repo, '--ref', OS_REF, '--os', OS_NAME],
    ...['--pubkey', base.keys.publicKey, '--output', output, '--format', 'qcow2', '--json'],
  ];
  const { stdout } = await runHere([process.execPath, bench.program, ...argv]);
  const { sealedFiles } = JSON.parse(stdout.toString()) as { sealedFiles: number };
  for (let run = 0; run < RUNS; run++) {
    await rm(output);
    await bench.ours('disk', argv);
  }
  await rm(output);
  const runs = await bench.runs('disk');
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

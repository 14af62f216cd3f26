/** Ten times as many files: how much longer, and how much memory. Dump to image, with no reference beside it. */
import { createHash } from 'node:crypto';
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import path from 'node:path';
import type { Alternation } from './alternation.ts';
import { compared, kib, median, type Row, seconds } from './figures.ts';

const SIZES = [100_000, 1_000_000] as const;
const FILES_PER_FOLDER = 100;
const RUNS = 3;
const MAX_GROWTH = '12.00';
const MAX_PEAK_KIB = 2.5 * 1024 * 1024;

export async function growthRows(bench: Alternation): Promise<Row[]> {
  const figures: { wall: number; peakKib: number }[] = [];
  for (const size of SIZES) {
    const dump = path.join(bench.folder, `${size}.dump`);
    writeDump(dump, size);
    for (let run = 0; run < RUNS; run++) {
      await bench.ours(`growth-${size}`, ['mkcomposefs', '--from-file', dump, 'growth.cfs']);
    }
    rmSync(dump);
    const runs = await bench.runs(`growth-${size}`);
    const wall = median(runs.map((run) => run.nanoseconds / 1e9));
    figures.push({ wall, peakKib: Math.max(...runs.map((run) => run.peakKib)) });
  }
  const [small, large] = figures as [(typeof figures)[0], (typeof figures)[0]];
  const [few, many] = SIZES.map((size) => size.toLocaleString('en'));
  return [
    compared(`${many} files beside ${few}: wall`, [large.wall, small.wall], seconds, MAX_GROWTH),
    compared(
      `${many} files beside ${few}: peak memory`,
      [large.peakKib, small.peakKib],
      kib,
      kib(MAX_PEAK_KIB),
    ),
  ];
}

function writeDump(file: string, files: number): void {
  const fd = openSync(file, 'w');
  writeSync(fd, `/ 4096 40755 ${2 + files / FILES_PER_FOLDER} 0 0 0 0.0 - - -\n`);
  for (let folder = 0; folder * FILES_PER_FOLDER < files; folder++) {
    const lines = [`/folder-${folder} 4096 40755 2 0 0 0 0.0 - - -\n`];
    for (let i = 0; i < FILES_PER_FOLDER; i++) {
      const digest = createHash('sha256').update(`${folder} ${i}`).digest('hex');
      const payload = `${digest.slice(0, 2)}/${digest.slice(2)}`;
      lines.push(`/folder-${folder}/file-${i} ${1000 + i} 100644 1 0 0 0 0.0 ${payload} - ${digest}\n`);
    }
    writeSync(fd, lines.join(''));
  }
  closeSync(fd);
}

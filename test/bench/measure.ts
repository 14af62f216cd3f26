/** Building measure.c and reading what it wrote. */
import path from 'node:path';
import { runHere } from '../../tools/chroots.ts';

/** The static program, in `folder`. */
export async function buildMeasure(folder: string): Promise<string> {
  const program = path.join(folder, 'measure');
  const source = path.join(import.meta.dirname, 'measure.c');
  const flags = ['-std=gnu11', '-O1', '-Wall', '-Wextra', '-Werror', '-static', '-s'];
  await runHere(['musl-gcc', ...flags, '-o', program, source]);
  return program;
}

export interface Run {
  readonly nanoseconds: number;
  /** Of all processors together, meanwhile. */
  readonly idleNanoseconds: number;
  /** On the processor, in user and kernel mode; waiting is not in it. */
  readonly cpuMicroseconds: number;
  readonly peakKib: number;
  readonly pageFaults: number;
  /** How often it gave up the processor to wait. */
  readonly waits: number;
}

/** What `measure run` wrote under `label`, in order. A program that failed is no figure: throws. */
export function runsOf(results: string, label: string): Run[] {
  return linesOf(results, label).map((fields) => {
    const [
      nanoseconds = 0,
      idleNanoseconds = 0,
      cpuMicroseconds = 0,
      peakKib = 0,
      pageFaults = 0,
      waits = 0,
      status,
    ] = fields;
    requireSuccess(label, status);
    return { nanoseconds, idleNanoseconds, cpuMicroseconds, peakKib, pageFaults, waits };
  });
}

/** What `measure resident` wrote under `label`. */
export function residentKibOf(results: string, label: string): number {
  const [kib = Number.NaN, status] = linesOf(results, label)[0] ?? [];
  requireSuccess(label, status);
  return kib;
}

function requireSuccess(label: string, status: number | undefined): void {
  if (status !== 0) throw new Error(`cannot measure ${label}: exit status ${status}`);
}

/** The numbers behind a label, line by line. */
export function linesOf(results: string, label: string): number[][] {
  const lines = results.split('\n').map((line) => line.split(' '));
  const found = lines.filter(([first]) => first === label).map(([, ...fields]) => fields.map(Number));
  if (found.length === 0)
    throw new Error(`cannot find ${label} in the measurements: ${JSON.stringify(results)}`);
  return found;
}

/** One target in a process of its own: runs it, and tells the parent how far it is. */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mutate, Random, type Seed, seedOf } from './mutate.ts';
import type { Target } from './target.ts';
import { TARGETS } from './targets.ts';

/** What the parent is told. */
export interface Progress {
  runs: number;
  accepted: number;
  cpuSeconds: number;
  rssBytes: number;
  /** On the clock, so what the machine did besides is in it. */
  slowestSeconds: number;
  /** The last message says what went wrong, or that nothing did. */
  end?: 'done' | 'failed';
}

/** For one input; all of prepare-root may have 96 MiB (initrd/runtime/main.c). */
const MAX_SECONDS = 1;
const MAX_INPUT_BYTES_USED = 64 * 1024 * 1024;
/** For all of them together, with Node.js itself and what waits to be collected. */
const MAX_RSS_BYTES = 256 * 1024 * 1024;
const REPORT_EVERY = 500;
const FOUND = join(import.meta.dirname, '../../.cache/fuzz');

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** The most that the process ever had. An input that raises it by more than its bound has used more than that. */
function peakBytes(): number {
  return process.resourceUsage().maxRSS * 1024;
}

/** What the input does wrong, or undefined. Time counts as CPU time: a busy machine is nobody's fault. */
function faultOf(target: Target, bytes: Uint8Array, run: number, seed: number): unknown {
  try {
    const started = cpuSeconds();
    target.run(bytes, run, seed);
    const taken = cpuSeconds() - started;
    return taken > MAX_SECONDS ? new Error(`it takes ${taken.toFixed(1)} s`) : undefined;
  } catch (error) {
    return error;
  }
}

function fuzz(target: Target, runs: number, seed: number): 'done' | 'failed' {
  const seeds: Seed[] = target.corpus().map(seedOf);
  let accepted = 0;
  let slowestSeconds = 0;
  for (const [i, { bytes }] of seeds.entries()) {
    const fault = faultOf(target, bytes, i, i);
    if (fault !== undefined) return fail(target, bytes, `corpus ${i}`, fault);
  }
  const random = new Random(seed);
  // Refusals by the hundred thousand: their stacks would take most of the time.
  Error.stackTraceLimit = 0;
  const report = (run: number) => {
    const rssBytes = process.memoryUsage.rss();
    process.send?.({
      runs: run,
      accepted,
      cpuSeconds: cpuSeconds(),
      rssBytes,
      slowestSeconds,
    } satisfies Progress);
    return rssBytes;
  };
  for (let run = 0; run < runs; run++) {
    const which = random.below(seeds.length);
    const bytes = mutate(seeds[which] as Seed, seeds, random);
    const where = `run ${run}, seed ${seed}`;
    const peak = peakBytes();
    const started = performance.now();
    let failed = false;
    try {
      if (target.run(bytes, run, which)) accepted++;
    } catch {
      failed = true;
    }
    const seconds = (performance.now() - started) / 1000;
    slowestSeconds = Math.max(slowestSeconds, seconds);
    if (failed || seconds > MAX_SECONDS) {
      Error.stackTraceLimit = 20;
      const fault = faultOf(target, bytes, run, which);
      if (fault !== undefined) return fail(target, bytes, where, fault);
      Error.stackTraceLimit = 0;
    }
    const used = peakBytes() - peak;
    if (used > MAX_INPUT_BYTES_USED) return fail(target, bytes, where, new Error(`it uses ${used} bytes`));
    if (run % REPORT_EVERY === 0 && report(run) > MAX_RSS_BYTES) {
      return fail(target, bytes, where, new Error(`more than ${MAX_RSS_BYTES} bytes are in use`));
    }
  }
  report(runs);
  return 'done';
}

function fail(target: Target, bytes: Uint8Array, where: string, fault: unknown): 'failed' {
  mkdirSync(FOUND, { recursive: true });
  const file = join(FOUND, `${target.name}-${where.replaceAll(/\W+/g, '-')}`);
  writeFileSync(file, bytes);
  process.stderr.write(`${target.name}: ${where}: ${fault instanceof Error ? fault.stack : String(fault)}\n`);
  process.stderr.write(`the input is in ${file}\n`);
  return 'failed';
}

const [name = '', runs = '0', seed = '0'] = process.argv.slice(2);
const target = TARGETS.find((one) => one.name === name);
if (target === undefined) throw new Error(`there is no target ${name}`);
await target.prepare?.();
process.exitCode = fuzz(target, Number(runs), Number(seed)) === 'done' ? 0 : 1;
process.disconnect?.();

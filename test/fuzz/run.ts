/**
 * `npm run fuzz -- [--runs N] [--seed S] [--target NAME]`: N changed inputs for each reader, by default 100000, fewer for
 * a slow one, the same ones for the same seed. Fails when one does anything but accept or throw SealrootError, breaks a
 * law of its target, takes over a second or 64 MiB, or the memory grows; the input is kept then. Each target has a process
 * of its own, so that one that never comes back can be ended.
 */

import { fork } from 'node:child_process';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { TARGETS } from './targets.ts';
import type { Progress } from './worker.ts';

/** Much longer than 500 runs take on a machine that is busy with something else. */
const SILENCE_SECONDS = 120;
/** V8 collects what it can before it dies of this: so much is really held. */
const OLD_SPACE_MEGABYTES = 64;

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '100000' },
    seed: { type: 'string', default: '1' },
    target: { type: 'string' },
  },
});

/** Whether the target kept its promises. */
async function fuzz(name: string, runs: number): Promise<boolean> {
  const started = performance.now();
  const execArgv = [...process.execArgv, `--max-old-space-size=${OLD_SPACE_MEGABYTES}`];
  const child = fork(join(import.meta.dirname, 'worker.ts'), [name, String(runs), values.seed], { execArgv });
  let last: Progress = { runs: 0, accepted: 0, cpuSeconds: 0, rssBytes: 0, slowestSeconds: 0 };
  let peak = 0;
  const silence = () =>
    setTimeout(() => {
      process.stderr.write(`${name}: no sign of life after run ${last.runs}\n`);
      child.kill('SIGKILL');
    }, SILENCE_SECONDS * 1000);
  let timer = silence();
  child.on('message', (progress: Progress) => {
    last = progress;
    peak = Math.max(peak, progress.rssBytes);
    clearTimeout(timer);
    timer = silence();
  });
  const status = await new Promise<number | null>((resolve) => child.once('close', resolve));
  clearTimeout(timer);
  const seconds = (performance.now() - started) / 1000;
  process.stdout.write(
    `${status === 0 ? 'ok' : 'FAILED'} ${name}: ${last.runs} runs (${last.accepted} accepted) in ${seconds.toFixed(1)} s, ` +
      `${Math.round(last.runs / last.cpuSeconds || 0)} a second of CPU time, ` +
      `the slowest ${Math.ceil(last.slowestSeconds * 1000)} ms, ${Math.round(peak / 2 ** 20)} MiB\n`,
  );
  return status === 0;
}

const chosen = TARGETS.filter(({ name }) => values.target === undefined || name === values.target);
if (chosen.length === 0) {
  process.stderr.write(`no such target; there are: ${TARGETS.map(({ name }) => name).join(' ')}\n`);
  process.exit(2);
}
let failed = 0;
for (const { name, prepare, runsEach = 1 } of chosen) {
  // Here, since nobody waits for a sign of life yet; the worker finds it done.
  await prepare?.();
  if (!(await fuzz(name, Math.ceil(Number(values.runs) / runsEach)))) failed++;
}
process.exitCode = failed === 0 ? 0 : 1;

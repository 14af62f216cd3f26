/**
 * `npm run test:vm -- NAME...`: runs the cases of that name, all without one, two at a time, those that may take longest
 * first, and prints TAP. Cases that share a guest (case.ts) have a line each behind that of the one that runs it.
 * A failed case shows its guest's console and how to repeat it. The last line is `N passed, N failed`.
 * Exit status: 0 all passed, 1 one failed, 2 nothing to run.
 */
import { existsSync } from 'node:fs';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { CACHE_DIR } from '../tools/cache.ts';
import { type CaseResult, runCase, type VmCase } from './case.ts';
import { comment, subtest, testPoint } from './tap.ts';

/** QEMU is emulating: with two cores a third guest would only slow the other two. */
const PARALLEL_CASES = 2;
const CONSOLE_LINES_SHOWN = 200;

/** Each run has a folder by its process id; that of a failed one stays for whoever looks into it, until the next run. */
const RUNS = path.join(CACHE_DIR, 'vm', 'runs');

interface Count {
  passed: number;
  failed: number;
}

async function caseNames(folder: string): Promise<string[]> {
  const files = existsSync(folder) ? await readdir(folder) : [];
  return files
    .filter((file) => file.endsWith('.ts'))
    .map((file) => file.slice(0, -'.ts'.length))
    .sort();
}

async function loadCase(file: string): Promise<VmCase> {
  const loaded = (await import(file)) as { default?: VmCase };
  if (loaded.default === undefined) throw new Error(`cannot load ${file}: no default export`);
  return loaded.default;
}

interface Listed {
  readonly name: string;
  readonly file: string;
  readonly deadlineSeconds: number;
  readonly points: number;
}

/** The longest first, so that at the end no case is left to run alone. One that cannot be loaded fails soon. */
async function listCases(folder: string, names: readonly string[]): Promise<Listed[]> {
  const cases = names.map(async (name) => {
    const file = path.join(folder, `${name}.ts`);
    const loaded = await loadCase(file).catch(() => undefined);
    const points = 1 + (loaded?.shared?.length ?? 0);
    return { name, file, deadlineSeconds: loaded?.deadlineSeconds ?? 0, points };
  });
  return (await Promise.all(cases)).sort((a, b) => b.deadlineSeconds - a.deadlineSeconds);
}

/** `first` is the number of its first test point. */
function report(first: number, name: string, result: CaseResult): string {
  const { point, steps, shared, machine } = result;
  const lines = shared.map((one, index) =>
    testPoint(first + 1 + index, { ...one, title: `${name}: ${one.title}` }),
  );
  const text = [subtest(first, point, steps), ...lines].join('');
  if ([point, ...shared].every(({ passed }) => passed)) return text;
  const repeat = comment(`repeat: npm run test:vm -- ${name}`);
  if (machine === undefined) return text + repeat;
  const console = machine.console.trimEnd().split('\n');
  const title = `console of guest ${machine.name}, last ${CONSOLE_LINES_SHOWN} lines of ${machine.logFile}:`;
  const events = machine.events.map((event) => `event ${JSON.stringify(event)}`).join('\n') || 'no event';
  return [
    text,
    comment(title),
    comment(console.slice(-CONSOLE_LINES_SHOWN).join('\n')),
    comment(events),
    repeat,
    comment(`the guest alone: ${machine.repeatCommand}`),
  ].join('');
}

/** Disks are large: what a run left that is over goes. */
async function removeOldRuns(): Promise<void> {
  for (const pid of existsSync(RUNS) ? await readdir(RUNS) : []) {
    if (!existsSync(`/proc/${pid}`)) await rm(path.join(RUNS, pid), { recursive: true, force: true });
  }
}

async function runAll(cases: readonly Listed[], write: (text: string) => void): Promise<Count> {
  const count = { passed: 0, failed: 0 };
  const waiting = [...cases];
  await removeOldRuns();
  const scratch = path.join(RUNS, `${process.pid}`);
  async function worker(): Promise<void> {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const { name, file } = next;
      const caseFolder = path.join(scratch, name);
      const result = await runCase(name, () => loadCase(file), caseFolder);
      const points = [result.point, ...result.shared];
      const first = count.passed + count.failed + 1;
      for (const { passed } of points) count[passed ? 'passed' : 'failed']++;
      write(report(first, name, result));
      if (points.every(({ passed }) => passed)) await rm(caseFolder, { recursive: true, force: true });
    }
  }
  await Promise.all(Array.from({ length: PARALLEL_CASES }, worker));
  if (count.failed === 0) await rm(scratch, { recursive: true, force: true });
  return count;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      /** Another folder of cases: the harness's own test runs cases that must fail. */
      cases: { type: 'string', default: path.join(import.meta.dirname, 'cases') },
      /** Also writes the counts there as JSON. */
      result: { type: 'string' },
    },
  });
  const folder = path.resolve(values.cases);
  const known = await caseNames(folder);
  const unknown = positionals.filter((name) => !known.includes(name));
  const names = positionals.length > 0 ? positionals : known;
  process.stdout.write(`TAP version 14\n`);
  if (unknown.length > 0 || names.length === 0) {
    const fact = unknown.length > 0 ? `no such case: ${unknown.join(' ')}` : `no case in ${folder}`;
    process.stdout.write(`Bail out! ${fact}\n`);
    process.stdout.write(comment(`cases: ${known.join(' ')}`));
    process.stdout.write('0 passed, 0 failed\n');
    return 2;
  }
  const cases = await listCases(folder, names);
  process.stdout.write(`1..${cases.reduce((sum, { points }) => sum + points, 0)}\n`);
  const count = await runAll(cases, (text) => process.stdout.write(text));
  if (values.result !== undefined) {
    await mkdir(path.dirname(values.result), { recursive: true });
    const total = count.passed + count.failed;
    const result = { numPassedTests: count.passed, numFailedTests: count.failed, numTotalTests: total };
    await writeFile(values.result, `${JSON.stringify(result)}\n`);
  }
  process.stdout.write(`${count.passed} passed, ${count.failed} failed\n`);
  return count.failed === 0 ? 0 : 1;
}

process.exitCode = await main();

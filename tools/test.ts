/**
 * `npm test`: the gate, the builds, the tests against the real tools and kernel, and the virtual machines.
 * All stages run even when one fails; the last line is `N passed, N failed`, the exit status says the same.
 */

import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const results = join(root, '.cache/test');

interface Count {
  passed: number;
  failed: number;
}

/** Runs a stage with its output shown; a stage without a result file counts as one test. */
function stage(title: string, argv: readonly [string, ...string[]], resultFile?: string): Count {
  const started = process.hrtime.bigint();
  console.log(`\n== ${title}: ${argv.join(' ')}`);
  if (resultFile !== undefined) rmSync(resultFile, { force: true });
  const [program, ...args] = argv;
  const run = spawnSync(program, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  const seconds = Number((process.hrtime.bigint() - started) / 1_000_000_000n);
  const count = resultFile === undefined ? undefined : readCount(resultFile);
  console.log(`== ${title}: ${run.status === 0 ? 'ok' : `FAILED (status ${run.status})`} after ${seconds} s`);
  if (count === undefined)
    return run.status === 0 && resultFile === undefined ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 };
  return run.status === 0 || count.failed > 0 ? count : { ...count, failed: 1 };
}

function readCount(file: string): Count | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return undefined; // the stage died before it wrote its result, and is counted as failed
  }
  const result = JSON.parse(text) as {
    numPassedTests: number;
    numFailedTests: number;
    numTotalTests: number;
  };
  return { passed: result.numPassedTests, failed: result.numTotalTests - result.numPassedTests };
}

function vitest(project: string): Count {
  const file = join(results, `${project}.json`);
  return stage(
    `vitest ${project}`,
    [
      'vitest',
      'run',
      '--project',
      project,
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${file}`,
    ],
    file,
  );
}

mkdirSync(results, { recursive: true });
const counts = [
  stage('types of the pure formats', ['tsc', '-p', 'src/formats/tsconfig.json']),
  stage('types of the initramfs program', ['tsc', '-p', 'initrd/tsconfig.json']),
  stage('types', ['tsc', '-p', 'tsconfig.json']),
  stage('lint', ['biome', 'check', '.']),
  vitest('unit'),
  stage('fuzzing', ['tsx', 'test/fuzz/run.ts', '--runs', '30000']),
  stage('prepare-root', ['tsx', 'initrd/build.ts']),
  stage('sealroot', ['tsx', 'tools/build.ts']),
  vitest('real'),
  stage(
    'virtual machines',
    ['tsx', 'vm-tests/run.ts', '--result', join(results, 'vm.json')],
    join(results, 'vm.json'),
  ),
];
const passed = counts.reduce((sum, count) => sum + count.passed, 0);
const failed = counts.reduce((sum, count) => sum + count.failed, 0);
console.log(`\n${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

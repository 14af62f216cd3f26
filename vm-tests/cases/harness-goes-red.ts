/**
 * The harness can fail. Runs the runner itself over cases that must be red (red-cases/) and one that must be green,
 * and matches exit status, counts, reason of each, and what a person needs after a failure.
 */
import { strict as assert } from 'node:assert';
import path from 'node:path';
import { type RunResult, runHere } from '../../tools/chroots.ts';
import type { VmCase } from '../case.ts';

const RUNNER = path.join(import.meta.dirname, '../run.ts');
const RED_CASES = path.join(import.meta.dirname, '../red-cases');

function runner(args: readonly string[]): Promise<RunResult> {
  return runHere([process.execPath, '--import', 'tsx', RUNNER, ...args], {
    cwd: path.join(import.meta.dirname, '../..'),
    allowedStatus: [0, 1, 2],
    timeoutSeconds: 900,
  });
}

/** Case -> how its failure must read. */
const RED = {
  fails: 'cannot accept guest fails: done with status 7',
  hangs: 'cannot see the end of guest hangs: deadline of 3 s passed',
  halts: 'cannot see the end of guest halts: its kernel halted',
  'stays-silent': 'cannot accept guest stays-silent: it ended without done',
  panics: 'cannot accept guest panics: its kernel panicked',
  contradicts: 'cannot see the end of guest contradicts: event afterthought after done',
} as const;

function requireRed(output: string, name: string, reason: string): void {
  assert.match(output, new RegExp(`^not ok \\d+ - ${name} `, 'm'));
  assert.ok(output.includes(`    ${reason}\n`), `no reason "${reason}" in:\n${output}`);
  assert.ok(output.includes(`# repeat: npm run test:vm -- ${name}\n`), 'no command to repeat');
  assert.match(output, new RegExp(`^# console of guest ${name}, last`, 'm'));
  assert.match(output, new RegExp(`^# the guest alone: qemu-system-x86_64 .*/${name}/`, 'm'));
}

/** Of the cases that share a guest one is red, one is green, and one that nobody judged is red. */
function requireSharedRed(output: string): void {
  assert.match(output, /^ok \d+ - shares /m);
  assert.match(output, /^ok \d+ - shares: good /m);
  assert.match(output, /^not ok \d+ - shares: bad [\s\S]*? {4}Error: the fact\n/m);
  assert.match(
    output,
    /^not ok \d+ - shares: forgotten [\s\S]*? {4}cannot judge forgotten: 0 verdicts on it/m,
  );
  assert.match(output, /^# console of guest shares, last/m);
}

export default {
  title: 'a guest that fails, hangs, halts, stays silent, panics or contradicts itself turns the run red',
  deadlineSeconds: 1000,
  async run(context) {
    await context.step('every red case is red, for its own reason, and the green one is green', async () => {
      const { status, stdout } = await runner(['--cases', RED_CASES]);
      const output = stdout.toString();
      for (const [name, reason] of Object.entries(RED)) requireRed(output, name, reason);
      assert.match(output, /^ok \d+ - control /m);
      requireSharedRed(output);
      const [passed, failed] = [3, Object.keys(RED).length + 2];
      assert.equal(output.trimEnd().split('\n').at(-1), `${passed} passed, ${failed} failed`);
      assert.match(output, new RegExp(`^1\\.\\.${passed + failed}$`, 'm'));
      assert.equal(status, 1);
      // The consoles are the guests' own: the panic shows in the output, in the panicking guest's part only.
      assert.equal(output.match(/^# .*Kernel panic - not syncing: sysrq/gm)?.length, 1);
    });
    await context.step('a run of the green case alone is green', async () => {
      const { status, stdout } = await runner(['--cases', RED_CASES, 'control']);
      assert.match(stdout.toString(), /^1 passed, 0 failed\n$/m);
      assert.equal(status, 0);
    });
    await context.step('a run without any case is an error', async () => {
      const { status, stdout } = await runner(['--cases', RED_CASES, 'no-such-case']);
      assert.match(
        stdout.toString(),
        /^Bail out! no such case: no-such-case\n[\s\S]*\n0 passed, 0 failed\n$/m,
      );
      assert.equal(status, 2);
      const empty = await runner(['--cases', context.folder]);
      assert.equal(empty.status, 2);
    });
  },
} satisfies VmCase;

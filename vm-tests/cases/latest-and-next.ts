/**
 * Which deployment boots when no entry names one that can: `ostree=latest`, and the next deployment after a refusal
 * where the policy says so. Only one whose image holds the running kernel's modules: the entry did not pair the two.
 */
import { strict as assert } from 'node:assert';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { runHere } from '../../tools/chroots.ts';
import { ensureBaseDisk } from '../base-disk.ts';
import type { CaseContext, VmCase } from '../case.ts';
import { file } from '../cpio.ts';
import { type FastBootFiles, PREPARE_ROOT_PATH } from '../fast-boot.ts';
import { requireBooted, requireRefused } from '../outcome.ts';
import { RefusalCase, SEALED_POLICY } from '../refusal.ts';

function asking(value: string): (line: string) => string {
  return (line) => line.replace(/\bostree=\S+/, `ostree=${value}`);
}

const NEXT = `${SEALED_POLICY}[sealroot]\non-failure=next-deployment\n`;
const NOWHERE = '/ostree/boot.1/debian/none/0';

/** prepare-root in a kernel that says it is an old one. */
async function underOldKernel(context: CaseContext, prepareRoot: string): Promise<FastBootFiles> {
  const wrapper = path.join(context.folder, 'old-kernel');
  const source = path.join(import.meta.dirname, '../old-kernel.c');
  await runHere([
    'musl-gcc',
    '-std=gnu11',
    '-O1',
    '-Wall',
    '-Wextra',
    '-Werror',
    '-static',
    '-s',
    '-o',
    wrapper,
    source,
  ]);
  const real = file(`${PREPARE_ROOT_PATH}.real`, await readFile(prepareRoot), 0o755);
  return { prepareRoot: wrapper, extra: [real] };
}

export default {
  title: 'the latest deployment, and the next one after a refusal',
  deadlineSeconds: 2400,
  async run(context) {
    const base = await ensureBaseDisk();
    const refusal = new RefusalCase(context, base);
    await refusal.bootsUntampered();
    await context.step('ostree=latest boots the one deployment there is', async () => {
      requireBooted(await refusal.boot('latest', { commandLine: asking('latest') }), base);
    });
    const nowhere = { commandLine: asking(NOWHERE) };
    await refusal.isRefused('an entry that leads nowhere', 'deployment-unresolvable', nowhere);
    await context.step(
      'the same entry, and a policy that goes on: boots the deployment there is',
      async () => {
        const machine = await refusal.boot('next', { ...nowhere, files: { policy: NEXT } });
        requireBooted(machine, base);
        assert.ok(machine.console.includes(`warning: cannot boot ${NOWHERE}: deployment-unresolvable: `));
      },
    );
    await context.step('a kernel whose modules the image lacks: refused with no-candidate', async () => {
      const files = await underOldKernel(context, base.prepareRoot);
      const named = await refusal.boot('old-kernel-named', { files });
      requireBooted(named, base);
      const machine = await refusal.boot('old-kernel', { commandLine: asking('latest'), files });
      requireRefused(machine, 'no-candidate');
      assert.match(
        machine.console,
        /cannot boot ostree\/deploy\/\S+: kernel-mismatch: cannot open .*\/usr\/lib\/modules\/2\.6\./,
      );
    });
    await context.step(
      'two deployments of its commit, without images: each mounts the one that is built',
      async () => {
        refusal.disk.remove(refusal.imagePath);
        refusal.disk.makeDirectory(base.deployment.replace(/0$/, '1'));
        const files = await underOldKernel(context, base.prepareRoot);
        const policy = `${SEALED_POLICY}[sealroot]\nrebuild-image=yes\n`;
        const machine = await refusal.boot('old-kernel-rebuilt', {
          commandLine: asking('latest'),
          files: { ...files, policy },
        });
        requireRefused(machine, 'no-candidate');
        for (const serial of [0, 1]) {
          const line = `cannot boot ostree/deploy/\\S+\\.${serial}: kernel-mismatch: `;
          assert.match(machine.console, new RegExp(line));
        }
      },
    );
  },
} satisfies VmCase;

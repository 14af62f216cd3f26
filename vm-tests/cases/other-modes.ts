/**
 * The whole system under policies that allow other roots than the usual: sealed with a transient /etc and root, whose
 * changes are gone with the next boot, and unsealed without composefs, from the deployment's own tree.
 */
import { strict as assert } from 'node:assert';
import path from 'node:path';
import { type BaseDisk, ensureBaseDisk, OS_NAME } from '../base-disk.ts';
import type { CaseContext, VmCase } from '../case.ts';
import { file } from '../cpio.ts';
import { POLICY_PATH } from '../fast-boot.ts';
import type { Machine } from '../machine.ts';
import { captured, requireDone, requireSystemBooted } from '../outcome.ts';
import { PROVE_ROOT } from '../refusal.ts';
import { QUICK_ARGUMENTS, SYSTEM_ARGUMENTS, SYSTEM_BOOT_SECONDS, startSystem } from '../system-boot.ts';
import { copyDisk } from '../tamper.ts';

const TRANSIENT = '[composefs]\nenabled=signed\n[etc]\ntransient=true\n[root]\ntransient=true\n';
const BOUND = '[composefs]\nenabled=no\n[sysroot]\nreadonly=true\n';

const SCRIPT = `${PROVE_ROOT}
capture state systemctl is-system-running --wait
capture failed systemctl list-units --failed --plain --no-legend
capture persisted sh -c 'cat /etc/probe /usr/probe /probe /var/lib/probe 2>/dev/null'
for place in /etc /usr "" /var/lib; do touch_at="$touch_at $place/probe"; done
capture written sh -c 'for probe in '"$touch_at"'; do echo "$probe" >"$probe" || echo "not $probe"; done 2>/dev/null'
capture mounts findmnt --raw --noheadings --output TARGET,FSTYPE,OPTIONS
capture status ostree admin status
exit 0
`;

async function boot(
  context: CaseContext,
  base: BaseDisk,
  disk: string,
  name: string,
  policy: string,
): Promise<Machine> {
  const machine = await startSystem(context, base, {
    name,
    disk: { file: disk, format: 'raw', writes: 'keep' },
    commandLine: [base.kernelArguments, ...SYSTEM_ARGUMENTS, ...QUICK_ARGUMENTS].join(' '),
    script: SCRIPT,
    initramfsFiles: [file(POLICY_PATH, policy)],
  });
  await machine.waitForEnd(SYSTEM_BOOT_SECONDS);
  return machine;
}

function requireWhole(machine: Machine, base: BaseDisk): void {
  assert.equal(captured(machine, 'failed').output, '');
  assert.equal(captured(machine, 'state').output, 'running\n');
  assert.match(captured(machine, 'status').output, new RegExp(`^\\* ${OS_NAME} ${base.commit}\\.0$`, 'm'));
}

function lineOf(machine: Machine, target: string): string {
  const lines = captured(machine, 'mounts').output.split('\n');
  return lines.findLast((line) => line.startsWith(`${target} `)) ?? `${target} is no mount`;
}

export default {
  title: 'the whole system with a transient root, sealed, and without composefs, unsealed',
  deadlineSeconds: 2700,
  async run(context) {
    const base = await ensureBaseDisk();
    const disk = path.join(context.folder, 'disk.raw');
    copyDisk(base.image, disk);
    for (const [name, persisted] of [
      ['first', ''],
      ['second', '/var/lib/probe\n'],
    ] as const) {
      await context.step(`${name} transient boot: sealed, writable, and only /var is kept`, async () => {
        const machine = await boot(context, base, disk, name, TRANSIENT);
        requireDone(machine);
        assert.match(machine.console, /sealroot-prepare-root: mounted [0-9a-f]{64} \(digest /);
        assert.match(captured(machine, 'root').output, / - overlay \S+ rw,.*verity=require/);
        requireWhole(machine, base);
        assert.equal(captured(machine, 'persisted').output, persisted);
        assert.equal(captured(machine, 'written').output, '');
        assert.match(lineOf(machine, '/etc'), / overlay rw,.*lowerdir=\S*usr\/etc,/);
      });
    }
    await context.step('without composefs: the tree of the deployment, /usr read-only', async () => {
      const machine = await boot(context, base, disk, 'bound', BOUND);
      requireDone(machine);
      assert.match(machine.console, /sealroot-prepare-root: mounted [0-9a-f]{64} \(not sealed\)/);
      requireWhole(machine, base);
      assert.match(captured(machine, 'root').output, / - ext4 /);
      assert.match(lineOf(machine, '/usr'), / ext4 ro,/);
      assert.match(captured(machine, 'written').output, /^not \/usr\/probe$/m);
      assert.doesNotMatch(captured(machine, 'written').output, /not \/(?:etc|var)/);
    });
    await context.step('the usual policy on the same disk: sealed as before', async () => {
      const machine = await boot(context, base, disk, 'usual', '[composefs]\nenabled=signed\n');
      requireSystemBooted(machine, base);
      requireWhole(machine, base);
    });
  },
} satisfies VmCase;

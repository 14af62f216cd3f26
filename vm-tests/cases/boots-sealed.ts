/**
 * The main thing: a stock Debian stable boots from the sealed image and is a whole system. Two boots of one disk, for
 * what persists, and a look at the disk afterwards, for how it was left.
 */
import { strict as assert } from 'node:assert';
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { type BaseDisk, ensureBaseDisk, OS_NAME } from '../base-disk.ts';
import type { CaseContext, VmCase } from '../case.ts';
import type { Machine } from '../machine.ts';
import { captured, requireSystemBooted } from '../outcome.ts';
import { PROVE_ROOT } from '../refusal.ts';
import { SYSTEM_ARGUMENTS, SYSTEM_BOOT_SECONDS, startSystem } from '../system-boot.ts';
import { copyDisk } from '../tamper.ts';

/** The state is asked for first: `--wait` returns when the boot is over. Every object is read, so that the kernel checks it. */
const SCRIPT = `${PROVE_ROOT}
capture state systemctl is-system-running --wait
capture write-root touch /probe
capture write-usr touch /usr/probe
capture mounts findmnt --raw --noheadings --output TARGET,FSTYPE,OPTIONS
capture persisted cat /etc/sealroot-probe /var/lib/sealroot-probe
echo etc >/etc/sealroot-probe
echo var >/var/lib/sealroot-probe
capture status ostree admin status
capture keys cat /run/sealroot/keys
capture policy cmp /run/sealroot/prepare-root.conf /usr/lib/sealroot/prepare-root.conf
capture booted cat /run/sealroot/booted.json
capture resolved journalctl --boot --output=cat MESSAGE_ID=7170336a73ba4601bad31af888aa0df7
capture objects sh -c 'find /sysroot/ostree/repo/objects -name "*.file" -type f -print0 | xargs -0 cat | wc -c'
capture failed systemctl list-units --failed --plain --no-legend
exit 0
`;

async function boot(
  context: CaseContext,
  base: BaseDisk,
  disk: string,
  name: string,
  kernelArguments = base.kernelArguments,
): Promise<Machine> {
  const machine = await startSystem(context, base, {
    name,
    disk: { file: disk, format: 'raw', writes: 'keep' },
    // At this level systemd-shutdown tells how it left the file systems.
    commandLine: [kernelArguments, ...SYSTEM_ARGUMENTS, 'loglevel=7'].join(' '),
    script: SCRIPT,
  });
  await machine.waitForEnd(SYSTEM_BOOT_SECONDS);
  requireSystemBooted(machine, base);
  return machine;
}

function optionsOf(mounts: string, target: string): string[] {
  const lines = mounts.split('\n').map((line) => line.split(' '));
  // The last mount on a place is the one that is seen.
  const found = lines.findLast(([place]) => place === target);
  assert.ok(found, `${target} is not mounted:\n${mounts}`);
  return (found[2] ?? '').split(',');
}

function requireWholeSystem(machine: Machine, base: BaseDisk): void {
  assert.equal(captured(machine, 'failed').output, '');
  assert.equal(captured(machine, 'state').output, 'running\n');
  for (const name of ['write-root', 'write-usr']) {
    const { status, output } = captured(machine, name);
    assert.notEqual(status, 0);
    assert.match(output, /Read-only file system/);
  }
  const mounts = captured(machine, 'mounts').output;
  assert.ok(optionsOf(mounts, '/').includes('verity=require'));
  assert.ok(optionsOf(mounts, '/sysroot').includes('ro'));
  for (const writable of ['/etc', '/var', '/boot']) assert.ok(optionsOf(mounts, writable).includes('rw'));
  assert.match(captured(machine, 'status').output, new RegExp(`^\\* ${OS_NAME} ${base.commit}\\.0$`, 'm'));
  assert.match(captured(machine, 'keys').output, /^[A-Za-z0-9+/]{43}=\n$/);
  assert.equal(captured(machine, 'policy').status, 0);
  const booted = JSON.parse(captured(machine, 'booted').output);
  assert.equal(booted.commit, base.commit);
  assert.equal(booted.digest, base.digest);
  assert.deepEqual(booted.passedOver, []);
  assert.deepEqual(Object.keys(booted.microseconds), ['policy', 'verdict', 'image', 'mounts']);
  for (const part of Object.values(booted.microseconds))
    assert.ok(Number(part) > 0, `a phase took ${part} us`);
  for (const name of ['erofs', 'overlay'])
    assert.match(machine.console, new RegExp(`systemd-modules-load\\[\\d+\\]: Inserted module '${name}'`));
  const resolved = `Resolved OSTree target to: /sysroot${base.deployment}\n`;
  assert.equal(captured(machine, 'resolved').output, resolved);
  const { status, output } = captured(machine, 'objects');
  assert.equal(status, 0, `an object cannot be read: ${output}`);
  assert.ok(Number(output) > 100_000_000, `only ${output} bytes of objects`);
  assert.match(machine.console, /All filesystems unmounted/);
}

export default {
  title: 'a stock Debian stable boots sealed, keeps what it should, and shuts down in good order',
  deadlineSeconds: 1800,
  async run(context) {
    const base = await ensureBaseDisk();
    const disk = path.join(context.folder, 'disk.raw');
    copyDisk(base.image, disk);
    await context.step('the first boot is sealed and whole', async () => {
      const machine = await boot(context, base, disk, 'first');
      requireWholeSystem(machine, base);
      assert.notEqual(captured(machine, 'persisted').status, 0, 'the probe was there before the first boot');
    });
    await context.step(
      'the second, with ostree=latest, finds /etc and /var as the first left them',
      async () => {
        const latest = base.kernelArguments.replace(/\bostree=\S+/, 'ostree=latest');
        const machine = await boot(context, base, disk, 'second', latest);
        requireWholeSystem(machine, base);
        assert.equal(captured(machine, 'persisted').output, 'etc\nvar\n');
      },
    );
    await context.step('the file system was left clean', () => {
      const said = execFileSync('e2fsck', ['-fn', `${disk}?offset=${base.rootOffset}`], { encoding: 'utf8' });
      assert.doesNotMatch(said, /recovering journal|not cleanly unmounted/i);
    });
  },
} satisfies VmCase;

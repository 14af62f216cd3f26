/**
 * A refused boot ends without a shell, whatever the kernel command line asks for: with every argument that dracut or
 * systemd know for getting one, and with somebody typing on the console all the time. What is typed would, in a shell,
 * print a word that stands nowhere else.
 */
import { strict as assert } from 'node:assert';
import { ensureBaseDisk } from '../base-disk.ts';
import type { VmCase } from '../case.ts';
import { file } from '../cpio.ts';
import { POLICY_PATH } from '../fast-boot.ts';
import { requireSystemRefused } from '../outcome.ts';
import { SEALED_POLICY, SystemRefusalCase } from '../refusal.ts';
import { SYSTEM_BOOT_SECONDS } from '../system-boot.ts';

/** Arguments that ask for a shell after a failure; none keeps an untampered system from booting. */
const HOSTILE = [
  ...[
    'rd.shell=1',
    'rd.shell',
    'rd.debug=0',
    'SYSTEMD_SULOGIN_FORCE=1',
    'systemd.setenv=SYSTEMD_SULOGIN_FORCE=1',
  ],
  ...['rd.systemd.debug_shell=1', 'rd.systemd.debug_shell=ttyS0', 'rd.systemd.default_debug_tty=ttyS0'],
  ...['rd.systemd.mask=sealroot-prepare-root.service', 'rd.emergency=shell'],
];

/** A login prompt and a shell both echo what is typed; only a shell multiplies. */
const TYPED = '\necho SHELL-$((6*7))\n';
const SHELL_ANSWER = 'SHELL-42';
/** sulogin, told by SYSTEMD_SULOGIN_FORCE not to ask for a password. */
const SHELL_OFFER = 'Press Enter for system maintenance';

/** The drop-ins that take the shell out of systemd's and dracut's failure units, emptied: the test can see a shell. */
const SHELL_ALLOWED = ['emergency', 'rescue', 'dracut-emergency'].map((unit) =>
  file(`etc/systemd/system/${unit}.service.d/50-sealroot.conf`, ''),
);

export default {
  title: 'a refused boot opens no shell',
  deadlineSeconds: 3600,
  async run(context) {
    const refusal = new SystemRefusalCase(context, await ensureBaseDisk());
    // dracut takes the last value: the machine still ends, by the arguments that follow.
    const change = {
      commandLine: (line: string) => `${HOSTILE.join(' ')} ${line.replace('rd.shell=0 ', '')}`,
    };
    await refusal.systemBootsUntampered(change);
    await context.step('rd.break ends the boot as the policy says, and no shell answers', async () => {
      const machine = await refusal.startSystem('break', {
        commandLine: (line) => `rd.break ${line.replace('rd.emergency=poweroff', 'rd.emergency=halt')}`,
        initramfsFiles: [file(POLICY_PATH, `${SEALED_POLICY}[sealroot]\non-failure=poweroff\n`)],
      });
      await machine.waitForConsole('opens no shell: poweroff', SYSTEM_BOOT_SECONDS);
      machine.type(TYPED);
      await machine.waitForEnd(SYSTEM_BOOT_SECONDS);
      assert.ok(!machine.console.includes(SHELL_ANSWER), 'a shell answered');
      assert.ok(!machine.events.some(({ event }) => event === 'started'), 'the system was started');
    });
    refusal.disk.remove(refusal.imagePath);
    await context.step('without what the sealed initramfs does about it, a shell is offered', async () => {
      const machine = await refusal.startSystem('with-a-shell', { ...change, initramfsFiles: SHELL_ALLOWED });
      await machine.waitForConsole('sealroot-prepare-root: error: ', SYSTEM_BOOT_SECONDS);
      await machine.waitForConsole(SHELL_OFFER, SYSTEM_BOOT_SECONDS);
      await machine.kill();
    });
    await context.step('no image and every argument for a shell: refused, and no shell answers', async () => {
      const machine = await refusal.startSystem('hostile', change);
      await machine.waitForConsole('sealroot-prepare-root: error: ', SYSTEM_BOOT_SECONDS);
      machine.type(TYPED);
      await machine.waitForConsole('opens no shell', SYSTEM_BOOT_SECONDS);
      machine.type(TYPED);
      await machine.waitForEnd(SYSTEM_BOOT_SECONDS);
      requireSystemRefused(machine, 'image-missing');
      assert.ok(!machine.console.includes(SHELL_ANSWER), 'a shell answered');
      assert.ok(!machine.console.includes(SHELL_OFFER), 'a shell was offered');
      assert.doesNotMatch(machine.console, /Give root password|root account is locked|login:/);
    });
  },
} satisfies VmCase;

/**
 * The device side on a kernel that has fs-verity: a booted sealed system pulls the next commit and deploys it with
 * `sealroot admin deploy`, by the keys that its initramfs recorded; the next boot runs it, and the one after that the
 * old one again. Before that, two updates that must not be deployed: one by a signer that nobody here trusts, and one
 * whose objects somebody has changed.
 */
import { strict as assert } from 'node:assert';
import path from 'node:path';
import { OS_NAME, OS_REF } from '../base-disk.ts';
import type { CaseContext, VmCase } from '../case.ts';
import type { Machine } from '../machine.ts';
import { captured, requireSystemBooted } from '../outcome.ts';
import { PROVE_ROOT } from '../refusal.ts';
import {
  FEW_UNITS,
  QUICK_ARGUMENTS,
  SYSTEM_ARGUMENTS,
  SYSTEM_BOOT_SECONDS,
  startSystem,
} from '../system-boot.ts';
import { copyDisk, Ext4Image } from '../tamper.ts';
import {
  ensureUpdateDisk,
  FOREIGN_REF,
  MARK,
  NEXT_MARK,
  type SealedCommit,
  type UpdateDisk,
} from '../update-disk.ts';

const UPDATES_SERIAL = 'updates';
const REPO = '/sysroot/ostree/repo';

/** `entries` shows what the boot loader would boot, before and after. The console shows each command: this takes minutes. */
const UPDATE = `exec 9>/dev/ttyS0; BASH_XTRACEFD=9; set -x
${PROVE_ROOT}
entries() { cat /boot/loader/entries/*.conf; ls /sysroot/ostree/deploy/${OS_NAME}/deploy; }
mkdir /run/updates
mount -t ext4 -o ro,noload /dev/disk/by-id/virtio-${UPDATES_SERIAL} /run/updates
capture before entries
capture status-before sealroot admin status --json

capture pull-foreign ostree pull-local --repo=${REPO} /run/updates/repo ${FOREIGN_REF}
capture deploy-foreign sealroot admin deploy --os ${OS_NAME} ${FOREIGN_REF}
capture after-foreign entries

capture pull ostree pull-local --repo=${REPO} /run/updates/repo ${OS_REF}
object=$(ostree ls -C --repo=${REPO} ${OS_REF} ${MARK} | sed 's/.* \\([0-9a-f]\\{64\\}\\) .*/\\1/')
event object checksum "x$object"
file=${REPO}/objects/$(printf %s "$object" | cut -c1-2)/$(printf %s "$object" | cut -c3-).file
replace() {
    unshare --mount sh -c 'mount -o remount,bind,rw /sysroot && cp -p "$1" "$1.new" && printf "$2\\n" >"$1.new" && touch -d @0 "$1.new" && mv -f "$1.new" "$1"' sh "$file" "$1"
}
capture replace replace evil
capture deploy-replaced sealroot admin deploy --os ${OS_NAME} ${OS_REF}
capture after-replaced entries
capture restore replace ${NEXT_MARK}

capture deploy sealroot admin deploy --os ${OS_NAME} --karg sealroot.test=next --json ${OS_REF}
capture status sealroot admin status --json
capture stock ostree admin status
capture sysroot-mount findmnt --noheadings --output OPTIONS /sysroot
exit 0
`;

const LOOK = `${PROVE_ROOT}
capture mark cat ${MARK}
capture cmdline cat /proc/cmdline
capture status sealroot admin status --json
booted=$(ostree admin status | sed -n 's/^\\* .* //p')
capture plan sealroot admin plan "$booted"
capture boot-plan /usr/lib/sealroot/sealroot-prepare-root --plan /sysroot
exit 0
`;

/** What the boot has noted, and that host and initramfs plan the same. */
function requirePlanned(machine: Machine, { commit, digest }: SealedCommit): void {
  const booted = statusOf(machine).deployments.find((one) => one.booted);
  assert.equal(booted?.commit, commit);
  assert.equal(booted?.boot?.commit, commit);
  const [ours, theirs] = [captured(machine, 'plan'), captured(machine, 'boot-plan')];
  assert.equal(ours.status, 0, ours.output);
  assert.equal(
    ours.output.replace(/^.*warning: .*\n/gm, ''),
    theirs.output.replace(/^.*warning: .*\n/gm, ''),
  );
  const plan = JSON.parse(theirs.output.slice(theirs.output.indexOf('{')));
  assert.equal(plan.commit, commit);
  assert.equal(plan.digest, digest);
  assert.ok(plan.steps.some(({ step }: { step: string }) => step === 'create-root'));
}

interface Status {
  deployments: {
    commit: string;
    booted: boolean;
    image: string;
    digest: string;
    imageDigest: string;
    signature: { state: string };
    boot?: { commit: string };
  }[];
}

function statusOf(machine: Machine, event = 'status'): Status {
  const { status, output } = captured(machine, event);
  assert.equal(status, 0, output);
  return JSON.parse(output) as Status;
}

async function boot(
  context: CaseContext,
  update: UpdateDisk,
  disk: string,
  options: { name: string; kernelArguments: string; script: string; expected: SealedCommit },
): Promise<Machine> {
  const { name, kernelArguments, script, expected } = options;
  const machine = await startSystem(
    context,
    { kernel: { image: update.kernel }, initramfs: update.initramfs },
    {
      name,
      disk: { file: disk, format: 'raw', writes: 'keep' },
      moreDisks: [{ file: update.updates, format: 'raw', writes: 'refuse', serial: UPDATES_SERIAL }],
      commandLine: [kernelArguments, ...SYSTEM_ARGUMENTS, ...QUICK_ARGUMENTS, ...FEW_UNITS].join(' '),
      script,
    },
  );
  await machine.waitForEnd(2 * SYSTEM_BOOT_SECONDS);
  requireSystemBooted(machine, expected);
  return machine;
}

function requireUpdated(machine: Machine, update: UpdateDisk): void {
  const before = captured(machine, 'before').output;
  for (const [event, code] of [
    ['deploy-foreign', /none of 1 signatures holds under any of 1 keys/],
    ['deploy-replaced', new RegExp(`object [0-9a-f]{64}, ${MARK}, is corrupt`)],
  ] as const) {
    const { status, output } = captured(machine, event);
    assert.equal(status, 1, output);
    assert.match(output, code);
    assert.equal(
      captured(machine, event.replace('deploy', 'after')).output,
      before,
      'a refusal left something',
    );
  }
  for (const event of ['pull', 'replace', 'restore', 'deploy']) {
    const { status, output } = captured(machine, event);
    assert.equal(status, 0, `${event}: ${output}`);
  }
  assert.match(captured(machine, 'sysroot-mount').output, /^ro,/, 'the remount was seen outside');
  const { deployments } = statusOf(machine);
  assert.deepEqual(
    deployments.map(({ commit, booted, image }) => ({ commit, booted, image })),
    [
      { commit: update.next.commit, booted: false, image: 'sealed' },
      { commit: update.first.commit, booted: true, image: 'sealed' },
    ],
  );
  for (const one of deployments) {
    assert.equal(one.signature.state, 'valid');
    assert.equal(one.imageDigest, one.digest);
  }
  assert.match(
    captured(machine, 'stock').output,
    new RegExp(`^\\* ${OS_NAME} ${update.first.commit}\\.0$`, 'm'),
  );
}

/** `options` of the boot loader's entries, the default first: higher `version` fields come first. */
function bootEntries(disk: Ext4Image): string[] {
  const loader = disk.readLink('/boot/loader');
  const folder = `/boot/${loader}/entries`;
  const field = (text: string, key: string) => new RegExp(`^${key} (.*)$`, 'm').exec(text)?.[1] ?? '';
  return disk
    .list(folder)
    .map((name) => disk.read(`${folder}/${name}`).toString())
    .sort((a, b) => Number(field(b, 'version')) - Number(field(a, 'version')))
    .map((text) => field(text, 'options'));
}

export default {
  title: 'a sealed system deploys its next commit, boots it, and goes back',
  deadlineSeconds: 5400,
  async run(context) {
    const update = await ensureUpdateDisk();
    const disk = path.join(context.folder, 'disk.raw');
    copyDisk(update.image, disk);
    await context.step(
      'updates by a stranger or with changed objects are refused, the real one is deployed',
      async () => {
        const { kernelArguments, first } = update;
        const machine = await boot(context, update, disk, {
          name: 'update',
          kernelArguments,
          script: UPDATE,
          expected: first,
        });
        requireUpdated(machine, update);
      },
    );
    const entries = bootEntries(new Ext4Image(disk, update.rootOffset));
    const [next = '', previous = ''] = entries;
    await context.step('the boot loader has both, the new one first', () => {
      assert.equal(entries.length, 2, entries.join('\n'));
      assert.match(next, / sealroot\.test=next( |$)/);
      assert.doesNotMatch(previous, /sealroot\.test/);
    });
    await context.step('the next boot runs the update', async () => {
      const machine = await boot(context, update, disk, {
        name: 'updated',
        kernelArguments: next,
        script: LOOK,
        expected: update.next,
      });
      assert.equal(captured(machine, 'mark').output, `${NEXT_MARK}\n`);
      requirePlanned(machine, update.next);
    });
    await context.step('the previous entry still boots what was before', async () => {
      const machine = await boot(context, update, disk, {
        name: 'rolled-back',
        kernelArguments: previous,
        script: LOOK,
        expected: update.first,
      });
      assert.notEqual(captured(machine, 'mark').status, 0);
      requirePlanned(machine, update.first);
    });
  },
} satisfies VmCase;
